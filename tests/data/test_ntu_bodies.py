"""Which of the tracked bodies are the people of a clip."""

import numpy as np
from ntu_files import FIRST_ID, Tracked, actor, in_picture, skeleton_text, table

from poselens.data.ntu_bodies import by_id, motion, noisy_frames, people, real_bodies, tracks
from poselens.data.ntu_skeleton import NtuSkeleton, read_ntu_skeleton


def read(tmp_path, frames: int, bodies: list[Tracked]) -> NtuSkeleton:
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_text(skeleton_text(frames, bodies))
    return read_ntu_skeleton(path)


def kept(skeleton: NtuSkeleton) -> list[list[str]]:
    joined = tracks(real_bodies(by_id(skeleton)))
    return [[body.name for body in track] for track in joined]


def test_one_person_who_is_lost_stays_at_their_frames(tmp_path) -> None:
    """S3: frames without a body are kept as missing, and the skeleton as long as the video."""
    body = Tracked(FIRST_ID, 2, actor(20, seed=1), gone=(5, 6, 7))
    metres, pixels = people(read(tmp_path, 25, [body]))
    assert metres.shape == (1, 25, 25, 3)
    seen = ~np.isnan(metres[0, :, 0, 0])
    assert np.flatnonzero(seen).tolist() == [2, 3, 4, *range(8, 22)]
    np.testing.assert_allclose(metres[0, 10], body.joints_metres[8], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pixels[0, 10], in_picture(body.joints_metres[8]), rtol=1e-5)


def test_ghosts_and_furniture_are_left_out(tmp_path) -> None:
    """S14: a body of 11 frames, and a wide, low one, are none; of 12 frames it is one."""
    person = Tracked(1, 0, actor(30, seed=1))
    ghost, guest = (Tracked(2, 3, actor(count, seed=2, side=1)) for count in (11, 12))
    assert kept(read(tmp_path, 30, [ghost, person])) == [["1"]]
    assert sorted(kept(read(tmp_path, 30, [guest, person]))) == [["1"], ["2"]]
    assert kept(read(tmp_path, 30, [Tracked(3, 0, table(30)), person])) == [["1"]]


def test_a_body_alone_is_kept_whatever_it_looks_like(tmp_path) -> None:
    assert kept(read(tmp_path, 30, [Tracked(3, 0, table(30))])) == [["3"]]
    assert kept(read(tmp_path, 30, [Tracked(4, 0, actor(2, seed=1))])) == [["4"]]
    # of several that are all furniture, the last to be looked at is left
    assert kept(read(tmp_path, 30, [Tracked(n, 0, table(30)) for n in (5, 6)])) == [["6"]]
    both_short = [Tracked(n, 0, actor(3, seed=n, side=n)) for n in (7, 8)]
    assert sorted(kept(read(tmp_path, 30, both_short))) == [["7"], ["8"]]


def test_the_two_who_move_most_are_kept_whatever_their_order(tmp_path) -> None:
    """S14: three people, bodies that change their places in the file."""
    reach = {"11": 0.2, "12": 0.6, "13": 0.4}
    bodies = [Tracked(int(name), 0, actor(30, seed=4, reach=much)) for name, much in reach.items()]
    skeleton = read(tmp_path, 30, bodies)
    assert kept(skeleton) == [["12"], ["13"]]
    order = np.random.default_rng(0).permutation(len(skeleton.frame))
    order = order[np.argsort(skeleton.frame[order], kind="stable")]
    shuffled = NtuSkeleton(
        skeleton.frames,
        skeleton.frame[order],
        tuple(skeleton.body[row] for row in order),
        skeleton.joints_metres[order],
        skeleton.joints_pixels[order],
    )
    for one, other in zip(people(skeleton), people(shuffled), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_person_found_again_under_another_id_goes_on_in_their_track(tmp_path) -> None:
    """S14: two people, of whom one is lost half way and comes back as another body."""
    whole = actor(40, seed=1, reach=0.6)
    other = actor(40, seed=2, side=1, reach=0.2)
    bodies = [
        Tracked(1, 0, whole[:18]), Tracked(2, 0, other), Tracked(3, 22, whole[22:]),
    ]  # fmt: skip
    skeleton = read(tmp_path, 40, bodies)
    found = {frozenset(track) for track in kept(skeleton)}
    assert found == {frozenset({"1", "3"}), frozenset({"2"})}
    metres, _ = people(skeleton)
    first = metres[0 if not np.isnan(metres[1, 20]).any() else 1]
    np.testing.assert_allclose(first[[3, 30]], whole[[3, 30]], rtol=1e-5, atol=1e-6)
    assert np.isnan(first[18:22]).all()


def test_motion_is_the_sum_of_variances() -> None:
    joints = np.zeros((2, 1, 3), dtype=np.float32)
    joints[1] = (2, 4, 6)
    assert motion(joints) == 1 + 4 + 9
    joints[1, 0] = np.nan
    assert motion(joints) == 0
    assert motion(np.full((2, 1, 3), np.nan)) == 0


def test_a_frame_is_noisy_where_the_body_is_too_wide() -> None:
    joints = np.full((4, 3, 3), np.nan)
    joints[0] = [(0, 0, 1), (0.8, 1, 1), (0.4, 0.5, 1)]
    joints[1] = [(0, 0, 1), (0.81, 1, 1), (0.4, 0.5, 1)]
    joints[2, :2] = [(0, 0, 1), (0, 1, 1)]
    assert noisy_frames(joints).tolist() == [False, True, False, True]
