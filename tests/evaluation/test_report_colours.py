import pytest
from colours import contrast, light_and_dark


def test_the_ratio_is_that_of_the_standard():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)
    # the grey that is known to pass on white by a hair
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", light_and_dark(), ids=["light", "dark"])
def test_every_text_can_be_read(scheme):
    for behind in ("paper", "panel"):
        for ink in ("ink", "muted", "accent", "wrong"):
            assert contrast(scheme[ink], scheme[behind]) >= 4.5, (ink, behind)
    assert contrast(scheme["on-accent"], scheme["accent"]) >= 4.5


@pytest.mark.parametrize("scheme", light_and_dark(), ids=["light", "dark"])
def test_every_mark_can_be_seen(scheme):
    for behind in ("paper", "panel"):
        for stream in range(6):
            assert contrast(scheme[f"s{stream}"], scheme[behind]) >= 3.0, (stream, behind)
