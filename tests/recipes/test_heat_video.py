import numpy as np

from poselens.clips.stream import RgbInput
from poselens.data.folder import open_folder
from poselens.data.video import probe
from poselens.recipes import heat_video
from poselens.recipes.heat_video import map_at, write_heat_video
from poselens.recipes.seen_clip import see_clip


def test_maps_glide_from_frame_to_frame():
    maps = np.stack([np.full((2, 2), value, np.float32) for value in (0.0, 1.0, 0.5)])
    frames = np.array([2, 6, 10])
    found = [float(map_at(maps, frames, index)[0, 0]) for index in range(13)]
    expected = np.interp(np.arange(13), frames, [0.0, 1.0, 0.5])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # a frame that was looked at twice, and a clip of one
    assert map_at(maps, np.array([3, 3, 3]), 3).shape == (2, 2)
    assert map_at(maps[:1], np.array([3]), 9).shape == (2, 2)


def test_every_frame_of_the_clip_is_there_under_its_map(drawn, tmp_path, monkeypatch):
    seen_maps = []
    draw = heat_video.draw_heat

    def kept(pictures, maps):
        seen_maps.append(maps[0])
        return draw(pictures, maps)

    monkeypatch.setattr(heat_video, "draw_heat", kept)
    seen = see_clip(open_folder(drawn.data), 4, RgbInput(segments=4, scale=72, size=64))
    maps = np.zeros((4, *seen.shown_size), np.float32)
    maps[2] = 1.0
    path = tmp_path / "clip.mp4"
    write_heat_video(path, seen, maps, caption="a clip\nb", scores=[("wave", 0.7)])
    assert probe(path).frames == seen.source.frames == len(seen_maps)
    assert probe(path).fps == probe(seen.source.path).fps
    assert np.argmax([each.mean() for each in seen_maps]) == seen.frames[2]
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]
