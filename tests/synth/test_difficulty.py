import pytest

from poselens.errors import UsageError
from poselens.synth.difficulty import DIFFICULTIES, get_difficulty


def test_settings_get_harder_in_every_respect() -> None:
    easy, standard, hard = (DIFFICULTIES[name] for name in ("easy", "standard", "hard"))
    for name in ("yaw", "distractors", "clutter", "movers", "jitter", "missing", "grain"):
        assert getattr(easy, name) < getattr(standard, name) < getattr(hard, name)
    assert easy.person_share > standard.person_share > hard.person_share


def test_an_unknown_difficulty_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown difficulty 'standart'; did you mean 'standard'"):
        get_difficulty("standart")
