"""The Models API over HTTP, as gateway, proxy and inference proxy all serve it (models-api.md)."""
