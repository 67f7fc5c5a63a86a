"""Each person has a colour and a number; a sheet holds all of its rows."""

import numpy as np
from PIL import Image

from poselens.evaluation.pose_sheet import PEOPLE, TILE, SheetRow, draw_people, save_sheet
from poselens.pose.layouts import get_layout

LAYOUT = get_layout("coco-17")
DARK = np.full((200, 300, 3), 40, np.uint8)


def body(left):
    draw = np.random.default_rng(0)
    return draw.uniform(0, 1, (17, 2)) * (60, 120) + (left, 50)


def pixels_of(picture, colour, part=slice(None)):
    near = np.abs(picture[:, part].astype(int) - colour).max(axis=-1) < 30
    return int(near.sum())


def test_people_are_told_apart_by_colour():
    drawn = draw_people(DARK, np.stack([body(20), body(200)]), LAYOUT)
    left, right = slice(0, 120), slice(160, 300)
    assert pixels_of(drawn, PEOPLE[0], left) > 100 > pixels_of(drawn, PEOPLE[0], right)
    assert pixels_of(drawn, PEOPLE[1], right) > 100 > pixels_of(drawn, PEOPLE[1], left)


def test_missing_joints_and_nobody_leave_the_frame_alone():
    nobody = np.full((2, 17, 2), np.nan)
    np.testing.assert_array_equal(draw_people(DARK, nobody, LAYOUT), DARK)
    np.testing.assert_array_equal(draw_people(DARK, nobody[:0], LAYOUT), DARK)


def test_more_people_than_colours():
    many = np.stack([body(5 * person) for person in range(10)])
    assert draw_people(DARK, many, LAYOUT).shape == DARK.shape


def test_a_sheet_has_a_strip_for_every_row(tmp_path):
    tile = np.full((TILE, 100, 3), 200, np.uint8)
    rows = [SheetRow("one", [tile] * 4), SheetRow("none", []), SheetRow("two", [tile])]
    save_sheet(rows, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width >= 4 * 100
        assert sheet.height > 3 * TILE
        bright = pixels_of(np.asarray(sheet.convert("RGB")), (200, 200, 200))
    assert bright > 5 * TILE * 100 * 0.99
    save_sheet([], tmp_path / "empty.png")
    assert (tmp_path / "empty.png").is_file()
