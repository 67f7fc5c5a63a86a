from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from poselens.synth.make import make_dataset
from poselens.synth.sheet import draw_contact_sheet, write_contact_sheet


def opened(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_a_drawn_sheet_has_a_row_per_class_and_moving_frames(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    draw_contact_sheet(path, difficulty="easy", columns=3, tile=40)
    sheet = opened(path)
    assert sheet.shape == (22 + 16 * 42 + 8 * 6, 176 + 3 * 42, 3)
    first, middle = sheet[30:66, 176:216], sheet[30:66, 218:258]
    assert np.abs(first - middle).max() > 60


def test_the_sheet_of_a_folder_shows_the_classes_it_has(tmp_path: Path) -> None:
    make_dataset(tmp_path / "set", clips=3, seed=0, size=(64, 64), workers=1)
    write_contact_sheet(tmp_path / "set", tmp_path / "sheet.png", columns=4, tile=30)
    sheet = opened(tmp_path / "sheet.png")
    assert sheet.shape == (22 + 3 * 32 + 2 * 6, 176 + 4 * 32, 3)
    assert np.ptp(sheet[30:55, 176:206]) > 60
