"""Properties of the whole network."""

import pytest
import torch

from poselens.errors import UsageError
from poselens.pose.layouts import Layout, get_layout
from poselens.skeleton import fused
from poselens.skeleton.build import build_skeleton_network

LAYOUT = get_layout("coco-17")


def tiny(people=1, layout=LAYOUT, **settings):
    torch.manual_seed(0)
    network = build_skeleton_network(
        layout=layout, num_classes=5, people=people, width=8, blocks=(1, 1), **settings
    )
    with torch.no_grad():
        for block in network.blocks:
            block.space.strength.fill_(0.5)
            block.space.norm.weight.fill_(1.0)
    return network


def clips(people=1, n=3):
    return torch.randn(n, 3, 8, 17, people, generator=torch.Generator().manual_seed(1))


def test_scores_have_one_row_per_clip_and_graphs_one_map_per_subset():
    logits, graph = tiny(people=2).eval().forward_with_graph(clips(2))
    assert logits.shape == (3, 5)
    assert graph.shape == (3, 3, 17, 17)
    torch.testing.assert_close(logits, tiny(people=2).eval()(clips(2)))


def test_graph_is_the_mean_over_channels_and_the_people_present():
    network = tiny(people=2).eval()
    joints = clips(2)
    joints[0, ..., 1] = torch.nan
    _, terms, present = network._encode(joints, None)
    space = network.blocks[-1].space
    relation = fused.squares(terms, 17).flatten(3)[:, :, : space.refine.shape[-1]]
    people = (space.refine @ relation + space.refine_bias).mean(dim=2).unflatten(-1, (17, 17))
    _, graph = network.forward_with_graph(joints)
    assert present.tolist() == [[True, False], [True, True], [True, True]]
    torch.testing.assert_close(graph[0], people[0])
    torch.testing.assert_close(graph[1], (people[2] + people[3]) / 2)


def test_the_graph_gives_the_contrast_a_gradient_from_the_first_step():
    network = build_skeleton_network(layout=LAYOUT, num_classes=5, width=8, blocks=(1, 1))
    network.forward_with_graph(clips())[1].square().sum().backward()
    gradient = network.blocks[-1].space.pair.weight.grad
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("absence", [torch.nan, 0.0])
def test_an_absent_second_person_equals_a_clip_of_one(training, absence):
    one, two = tiny(people=1), tiny(people=2)
    weights = two.state_dict()
    own = {name: values for name, values in one.state_dict().items() if "data_norm" not in name}
    two.load_state_dict(weights | own)
    one.train(training)
    two.train(training)
    joints = clips(1)
    pair = torch.cat([joints, torch.full_like(joints, absence)], dim=-1)
    expected, graph = one.forward_with_graph(joints)
    found, pair_graph = two.forward_with_graph(pair)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pair_graph, graph, rtol=1e-4, atol=1e-5)
    for (name, left), right in zip(
        one.blocks.state_dict().items(), two.blocks.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(left, right, msg=name)


def test_presence_can_be_given():
    network = tiny(people=2).eval()
    joints = clips(2)
    alone = joints.clone()
    alone[..., 1] = torch.nan
    present = torch.tensor([[True, False]] * 3)
    torch.testing.assert_close(network(joints, present), network(alone))
    assert not torch.allclose(network(joints), network(alone))


@pytest.mark.parametrize("training", [True, False])
def test_what_stands_in_an_absent_persons_slot_changes_nothing(training):
    """Clips of nobody, one, two and three people; the slots of who is absent hold anything."""
    present = torch.tensor(
        [[True, False, False], [True, True, False], [True, True, True], [False, False, False]]
    )
    joints = clips(people=3, n=4)
    seen, graphs, statistics = [], [], []
    for filling in (torch.nan, 0.0, 5.0, -300.0):
        network = tiny(people=3).train(training)
        filled = torch.where(present[:, None, None, None], joints, filling)
        logits, graph = network.forward_with_graph(filled, present)
        seen.append(logits)
        graphs.append(graph)
        statistics.append(
            torch.cat([v.flatten() for k, v in network.named_buffers() if "run" in k])
        )
    for values in (seen, graphs, statistics):
        for other in values[1:]:
            torch.testing.assert_close(other, values[0])
    # and without being told, from NaN or 0 alone
    for filling in (torch.nan, 0.0):
        filled = torch.where(present[:, None, None, None], joints, filling)
        torch.testing.assert_close(tiny(people=3).train(training)(filled), seen[0])


@pytest.mark.parametrize("people", [1, 2, 3])
def test_logits_are_the_classified_mean_over_those_present(people):
    """An oracle in loops: every person alone through the blocks, then the mean of who is there."""
    network = tiny(people=3).eval()
    joints = clips(people=3)
    joints[..., people:] = torch.nan
    with torch.no_grad():
        for clip in range(3):
            features = []
            for person in range(people):
                alone = torch.full((1, 3, 8, 17, 3), torch.nan)
                alone[..., person] = joints[clip, ..., person]
                feature, _, _ = network._encode(alone, None)
                features.append(feature[person].mean(dim=(1, 2)))
            expected = network.classify(sum(features) / people)
            torch.testing.assert_close(network(joints)[clip], expected)


@pytest.mark.parametrize("training", [True, False])
def test_a_clip_without_anyone_gets_the_bias(training):
    network = tiny(people=2, dropout=0.5).train(training)
    with torch.no_grad():
        network.classify.bias.normal_()
    joints = clips(2)
    joints[1] = torch.nan
    torch.testing.assert_close(network(joints)[1], network.classify.bias)
    nobody = network(torch.full_like(joints, torch.nan))
    torch.testing.assert_close(nobody, network.classify.bias.expand(3, -1))


def test_a_missing_joint_is_read_as_zero():
    network = tiny().eval()
    joints = clips()
    filled = joints.clone()
    filled[:, :, 2, 4] = 0.0
    for missing in (torch.nan, torch.inf, -torch.inf):
        joints[:, :, 2, 4] = missing
        torch.testing.assert_close(network(joints), network(filled))


def test_the_order_of_a_batch_does_not_matter():
    network, joints = tiny(people=2).eval(), clips(2)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(network(joints[order]), network(joints)[order])


def test_renaming_joints_with_the_graph_leaves_scores_alone():
    generator = torch.Generator().manual_seed(5)
    order = torch.randperm(17, generator=generator)
    place = torch.argsort(order).tolist()
    renamed = Layout(
        "renamed",
        tuple(LAYOUT.joints[old] for old in order),
        tuple(place[LAYOUT.parents[old]] for old in order),
    )
    network, other = tiny().eval(), tiny(layout=renamed).eval()
    torch.testing.assert_close(other(clips()[:, :, :, order]), network(clips()))
    assert not torch.allclose(network(clips()[:, :, :, order]), network(clips()))


def test_it_fits_a_handful_of_clips():
    network = tiny()
    joints, labels = clips(n=8), torch.arange(8) % 5
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(network(joints), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_it_exports_with_a_free_batch():
    network = tiny(people=2).eval()
    batch = torch.export.Dim("n", min=2, max=64)
    exported = torch.export.export(network, (clips(2),), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(exported.module()(clips(2, n=5)), network(clips(2, n=5)))


@pytest.mark.parametrize("width", [0, 6, -4])
def test_a_width_that_four_branches_cannot_share_is_refused(width):
    with pytest.raises(UsageError, match=f"found width {width}, expected a positive multiple of 4"):
        build_skeleton_network(layout=LAYOUT, num_classes=5, width=width)
