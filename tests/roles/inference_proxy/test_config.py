from privity.roles.inference_proxy.config import RemoteEngine


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(RemoteEngine("http://e", ("generate",), "secret"))
