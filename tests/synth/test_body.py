import numpy as np

from poselens.synth.body import SUBJECTS, dress, hue_of, object_colour, subject


def test_subjects_follow_from_the_seed_and_differ() -> None:
    people = [subject(4, number) for number in range(1, SUBJECTS + 1)]
    assert people == [subject(4, number) for number in range(1, SUBJECTS + 1)]
    assert len({who.body.height for who in people}) == SUBJECTS
    assert subject(5, 1) != people[0]


def test_the_object_stands_out_from_the_clothes() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        look = dress(subject(seed, 1).look, rng)
        colour = object_colour(look, rng)
        assert max(colour) == 255
        for worn in (look.shirt, look.skin):
            gap = abs(hue_of(colour) - hue_of(worn))
            assert min(gap, 1 - gap) > 0.05
