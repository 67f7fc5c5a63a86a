import pytest

from poselens.errors import UsageError
from poselens.recipes import load
from poselens.recipes.costing import recipe_cost


@pytest.mark.parametrize(("layout", "classes"), [("ntu-25", 60), ("coco-17", 99)])
def test_the_literal_recipe_costs_no_more_than_published(layout, classes):
    cost = recipe_cost(load("paper"), layout=layout, classes=classes)
    assert cost["gmacs_total"] <= 35.1
    assert cost["gmacs_total"] == pytest.approx(cost["gmacs_rgb"] + cost["gmacs_skeleton"])
    # TSM-ResNet50 alone, eight frames: 32.9
    assert cost["gmacs_rgb"] > 32.8
    assert cost["params"] == cost["params_rgb"] + cost["params_skeleton"]


def test_what_is_counted_follows_the_question():
    tiny = load("tiny")
    few = recipe_cost(tiny, layout="coco-17", classes=2)
    assert recipe_cost(tiny, layout="ntu-25", classes=2)["gmacs_skeleton"] > few["gmacs_skeleton"]
    assert recipe_cost(tiny, layout="coco-17", classes=50)["params"] > few["params"]
    assert (few["layout"], few["classes"], few["recipe"]) == ("coco-17", 2, "tiny")


def test_a_recipe_in_pixels_has_two_coordinates():
    flat = load("tiny").model_copy(deep=True)
    skeleton = flat.skeleton.model_copy(
        update={"input": flat.skeleton.input.model_copy(update={"space": "pixels"})}
    )
    flat = flat.model_copy(update={"skeleton": skeleton})
    found = recipe_cost(flat, layout="coco-17", classes=9)
    assert (
        found["params_skeleton"]
        < recipe_cost(load("tiny"), layout="coco-17", classes=9)["params_skeleton"]
    )


def test_an_unknown_layout():
    with pytest.raises(UsageError, match="did you mean 'ntu-25'"):
        recipe_cost(load("tiny"), layout="ntu25", classes=3)
