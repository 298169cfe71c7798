import random
from collections import Counter

import pytest

from privity.protocol.shard_key import shard_key
from privity.roles.gateway.affinity import ALIKE_BLOCKS, FREE_LOAD, MAX_KEY_CHARACTERS, MAX_KEYS, Affinity

SALT = "0123456789abcdef"
BLOCKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def urls(count: int) -> list[str]:
    return [f"https://replica-{number}:8443" for number in range(count)]


def idle(count: int) -> dict[str, int]:
    return dict.fromkeys(urls(count), 0)


def some_keys(count: int, blocks: int = 40) -> list[str]:
    chance = random.Random(count)  # noqa: S311  # the same ones each time
    return [f"{SALT}-{''.join(chance.choices(BLOCKS, k=blocks))}" for _ in range(count)]


def placed(keys: list[str], replicas: int) -> dict[str, str]:
    affinity = Affinity()
    return {key: affinity.choose("m", key, idle(replicas)) for key in keys}


@pytest.mark.parametrize("blocks", [1, 2, ALIKE_BLOCKS - 1, ALIKE_BLOCKS, 50])
def test_each_turn_of_a_conversation_goes_where_the_one_before_went(blocks: int) -> None:
    affinity = Affinity()
    conversations = some_keys(40, 90)
    first = {key: affinity.choose("m", key[: 17 + blocks], idle(8)) for key in conversations}
    for length in (blocks + 1, blocks + 13, 90):
        assert {key: affinity.choose("m", key[: 17 + length], idle(8)) for key in conversations} == first


def test_a_turn_whose_end_was_written_anew_goes_where_the_others_went() -> None:
    affinity = Affinity()
    (key,) = some_keys(1)
    first = affinity.choose("m", key, idle(8))
    assert {affinity.choose("m", key[:-3] + end, idle(8)) for end in ("AAA", "BBBBBB", "")} == {first}


def test_the_longest_beginning_wins() -> None:
    affinity = Affinity()
    system, *_ = some_keys(1, 20)
    at_home = affinity.choose("m", system + "AAAA", idle(4))
    full = idle(4) | {at_home: FREE_LOAD}
    elsewhere = affinity.choose("m", system + "BBBB", full)
    assert elsewhere != at_home
    assert affinity.choose("m", system + "AAAACC", idle(4)) == at_home
    assert affinity.choose("m", system + "BBBBCC", idle(4)) == elsewhere


def test_prompts_with_one_beginning_go_together_whichever_gateway_is_asked() -> None:
    keys = [key[: 17 + ALIKE_BLOCKS] for key in some_keys(20)]
    one, other = placed([key + "AB" for key in keys], 6), placed([key + "XYZ" for key in keys], 6)
    assert list(one.values()) == list(other.values())


@pytest.mark.parametrize("replicas", [2, 5, 20])
def test_few_keys_move_when_a_replica_comes_or_goes(replicas: int) -> None:
    keys = some_keys(3000)
    before, after = placed(keys, replicas), placed(keys, replicas + 1)
    moved = [key for key in keys if before[key] != after[key]]
    assert {after[key] for key in moved} == {urls(replicas + 1)[-1]}  # and when it goes, they go back
    assert len(moved) <= 2 * len(keys) / (replicas + 1)
    assert max(Counter(after.values()).values()) <= 2 * len(keys) / (replicas + 1)


def test_conversations_stay_when_a_replica_comes() -> None:
    affinity = Affinity()
    keys = some_keys(200)
    before = [affinity.choose("m", key, idle(3)) for key in keys]
    assert [affinity.choose("m", key + "A", idle(4)) for key in keys] == before


def test_a_conversation_whose_replica_went_moves_once() -> None:
    affinity = Affinity()
    (key,) = some_keys(1)
    first = affinity.choose("m", key, idle(3))
    left = {url: 0 for url in urls(3) if url != first}
    second = affinity.choose("m", key + "A", left)
    assert second != first
    assert affinity.choose("m", key + "AB", idle(3)) == second


@pytest.mark.parametrize("replicas", [2, 3, 10])
def test_no_replica_gets_much_more_than_its_share_of_one_beginning(replicas: int) -> None:
    affinity = Affinity()
    loads = idle(replicas)
    for number in range(1, 100 * replicas + 1):
        loads[affinity.choose("m", SALT + "-" + "A" * 30, loads)] += 1
        assert max(loads.values()) <= max(FREE_LOAD, 1.25 * number / replicas + 1)
    assert sum(load > 0 for load in loads.values()) >= 0.8 * replicas


def test_salts_and_models_do_not_lead_each_other_s_requests() -> None:
    keys = [f"{number:016x}-{'A' * 30}" for number in range(64)]
    assert len(set(placed(keys, 8).values())) == 8
    affinity = Affinity()
    assert len({affinity.choose(f"m{number}", keys[0], idle(8)) for number in range(64)}) == 8


def test_a_short_prompt_has_a_place_of_its_salt_only() -> None:
    affinity = Affinity()
    first = affinity.choose("m", SALT, idle(8))
    assert affinity.choose("m", SALT, idle(8)) == first


def test_what_is_remembered_is_bounded() -> None:
    affinity = Affinity()
    last = f"{SALT}-{'Z' * (MAX_KEY_CHARACTERS + 500)}"
    for key in [*some_keys(MAX_KEYS + 500, 12), last]:
        affinity.choose("m", key, idle(2))
    assert len(affinity) == MAX_KEYS
    home = affinity.choose("m", last, idle(2))
    away = next(url for url in urls(2) if url != home)
    assert affinity.choose("m", last, {home: FREE_LOAD, away: 0}) == away
    assert affinity.choose("m", last, idle(2)) == away


def test_real_keys_of_a_conversation() -> None:
    affinity = Affinity()
    system = '[{"role":"system","content":"' + "You are a helpful assistant. " * 20
    seen: dict[int, set[str]] = {}
    texts = {number: system + f'"}},{{"role":"user","content":"{number} {"is it? " * 30}"' for number in range(6)}
    loads = idle(2)
    for turn in range(5):
        for number, text in texts.items():
            key = shard_key({"messages": (text + "}]").encode()}, "s" * 32)
            chosen = affinity.choose("m", key, loads)
            loads[chosen] += 1 if turn == 0 else 0  # the first ones all at once
            seen.setdefault(number, set()).add(chosen)
            texts[number] = text + f'}},{{"role":"assistant","content":"{turn} {"yes. " * 40}"'
        loads = idle(2)
    assert all(len(chosen) == 1 for chosen in seen.values())
    assert len(set.union(*seen.values())) == 2
