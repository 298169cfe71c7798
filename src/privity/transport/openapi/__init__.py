"""What each role answers, as an OpenAPI 3.1 document (spec.openapis.org/oas/v3.1.0)."""
