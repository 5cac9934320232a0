"""The script of the page, `web/mcdm.js`, run by Node.js over a stand-in for the page: its graph, nodes and events."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ..support.server.comfyui_server import ROOT

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no Node.js")

STAND_IN = Path(__file__).with_name("page_stand_in.js")


@pytest.fixture
def page(tmp_path):
    """Run lines of JavaScript on a page that shows `graph`; returns what they `say`."""
    for folder, name, text in (
        ("scripts", "app.js", f'export {{ app }} from "{STAND_IN.as_uri()}";'),
        ("scripts", "api.js", f'export {{ api }} from "{STAND_IN.as_uri()}";'),
        ("extensions/some pack", "mcdm.js", (ROOT / "web" / "mcdm.js").read_text(encoding="utf-8")),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text, encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}')

    def run(*lines: str) -> list:
        main = tmp_path / "main.js"
        start = [
            f'import {{ app, api, graph, history, say, start, call, notes, GraphNode }} from "{STAND_IN.as_uri()}";',
            'await import("./extensions/some pack/mcdm.js");',
            "start();",
        ]
        main.write_text("\n".join([*start, *lines]), encoding="utf-8")
        found = subprocess.run([NODE, main], capture_output=True, text=True, check=False, timeout=60)
        assert found.returncode == 0, found.stderr
        return [json.loads(line) for line in found.stdout.splitlines()]

    return run


def refusals(*told: tuple[str, str, str], workflow: str = "shown") -> str:
    """JavaScript that receives what a prompt is refused for: ids, types and sentences."""
    listed = [dict(zip(("node", "type", "text"), each, strict=True)) for each in told]
    return f"api.receive('mcdm.refusals', {json.dumps({'refusals': listed, 'warnings': [], 'workflow': workflow})});"


TWO = refusals(("1", "MCDM_Expert", "Text expert needs a negative."), ("2", "MCDM_Guider", "Another."))


def test_a_refusal_stands_on_its_node_until_the_next_prompt(page):
    before, refused, after = page("say(notes());", TWO, "say(notes());", refusals(), "say(notes());")
    assert before == after == {}
    assert refused == {"1": ["✖ Text expert needs a negative."], "2": ["✖ Another."]}


def test_the_upper_of_two_nodes_with_notes_lies_in_front(page):
    """Whichever is told first: a note may grow over the node below, and hides nothing of another note then."""
    upper, lower = ("1", "MCDM_Expert", "Why."), ("2", "MCDM_Guider", "Why.")
    for told in ([upper, lower], [lower, upper]):
        assert page(refusals(*told), "say(app.canvas.raised.slice(-2));") == [[2, 1]]
        (rules,) = page(refusals(*told), "say(document.rules.textContent);")
        assert re.findall(r'node-id="(\d)"\] \{ z-index: (\d+) !important', rules) == [("2", "1000"), ("1", "1001")]


def test_a_node_whose_note_goes_lies_where_the_page_puts_it(page):
    (rules,) = page(TWO, "graph.getNodeById(1).onWidgetChanged('weight', 2, 1);", "say(document.rules.textContent);")
    assert re.findall(r'node-id="(\d)"', rules) == ["2"]


@pytest.mark.parametrize("change", ["onConnectionsChange(1, 0, true)", "onWidgetChanged('weight', 2, 1)"])
def test_a_refusal_goes_when_its_node_changes(page, change):
    (found,) = page(TWO, f"graph.getNodeById(1).{change};", "say(notes());")
    assert found == {"2": ["✖ Another."]}


def test_a_link_to_another_node_mends_nothing(page):
    (found,) = page(TWO, "graph.getNodeById(1).onConnectionsChange(2, 0, true);", "say(notes());")
    assert found.keys() == {"1", "2"}


@pytest.mark.parametrize("told", [("3", "MCDM_Expert", "x"), ("1", "MCDM_Guider", "x"), ("9", "MCDM_Guider", "x")])
def test_nodes_of_other_workflows_are_told_nothing(page, told):
    assert page(refusals(told), "say(notes());") == [{}]
    assert page(refusals(("1", "MCDM_Expert", "x"), workflow="another"), "say(notes());") == [{}]


def test_a_refusal_inside_a_subgraph_stands_on_the_subgraph_too(page):
    inside, mended = page(
        refusals(("5:12", "MCDM_Expert", "Here."), ("5:13", "MCDM_Expert", "There.")),
        "say(notes());",
        "graph.getNodeById(5).subgraph.getNodeById(12).onWidgetChanged('weight', 2, 1);",
        "say(notes());",
    )
    assert inside == {"5": ["✖ Here.\n✖ There."], "12": ["✖ Here."], "13": ["✖ There."]}
    assert mended == {"5": ["✖ There."], "13": ["✖ There."]}


def test_a_warning_goes_when_its_node_runs_again(page):
    warning = {"node": "1", "type": "MCDM_Expert", "text": "First.\nSecond.", "workflow": "shown"}
    warned, other, after = page(
        f"api.receive('mcdm.warning', {json.dumps(warning)});",
        "say(notes());",
        "api.receive('executing', '2');",
        "say(notes());",
        "api.receive('executing', '1');",
        "say(notes());",
    )
    assert warned == other == {"1": ["⚠ First.\n⚠ Second."]}
    assert after == {}


FOLDED = """
const widgets = [{ name: "map", options: {} }, { name: "with_text", options: { advanced: true } }];
const inputs = [{ name: "with_text", widget: { name: "with_text" }, link: null }];
const node = new GraphNode(7, TYPE, { widgets, inputs });
call("nodeCreated", node);
say([widgets.map((widget) => widget.advanced ?? false), node.size[1]]);
inputs[0].link = 3;
call("loadedGraphNode", node);
say([widgets.map((widget) => widget.advanced ?? false), node.size[1]]);
"""


def test_advanced_inputs_are_folded_on_classic_nodes_unless_they_are_linked(page):
    assert page(FOLDED.replace("TYPE", "'MCDM_EncodeMap'")) == [[[False, True], 200], [[False, False], 200]]
    assert page(FOLDED.replace("TYPE", "'KSampler'")) == [[[False, False], 205]] * 2


def test_a_node_keeps_its_height(page):
    warning = {"node": "1", "type": "MCDM_Expert", "text": "First.", "workflow": "shown"}
    height = "say(graph.getNodeById(1).size[1]);"
    plain, warned, both, refused, again = page(
        height,
        f"api.receive('mcdm.warning', {json.dumps(warning)});",
        height,
        TWO,
        height,
        "api.receive('executing', '1');",
        height,
        refusals(),
        height,
    )
    assert plain < warned < both
    assert plain < refused < both
    assert again == plain


OURS = "/comfy/custom_nodes/some pack/nodes/host/run/refusals.py"


def failure(kind: str, file: str, workflow: str = "shown", node: str = "2", node_type: str = "MCDM_Guider") -> str:
    """JavaScript that receives the end of a run by an error, and waits until the server has been asked about it."""
    error = {"prompt_id": "run", "node_id": node, "node_type": node_type, "exception_type": kind}
    error |= {
        "exception_message": "Why.\n",
        "traceback": ['  File "/comfy/execution.py", line 1', f'  File "{file}", in'],
    }
    queued = {"prompt": [1, "run", {}, {"extra_pnginfo": {"workflow": {"id": workflow}}}, []]}
    return (
        f"history.run = {json.dumps(queued)}; api.receive('execution_error', {json.dumps(error)});"
        "await new Promise((resolve) => setTimeout(resolve, 50));"
    )


@pytest.mark.parametrize(
    ("kind", "file", "shown"),
    [
        ("ValueError", OURS, True),
        ("ValueError", r"C:\\comfy\\custom_nodes\\some pack\\mcdm_core\\expert.py", True),
        ("/comfy/custom_nodes/some pack.mcdm_core.product.terms.term_numbers.TermError", OURS, True),
        ("ValueError", "/comfy/custom_nodes/another/nodes.py", False),
        ("RuntimeError", OURS, False),
    ],
)
def test_a_sentence_of_a_run_stands_on_the_node_that_ran(page, kind, file, shown):
    (found,) = page(failure(kind, file), "say(notes());")
    assert found == ({"2": ["✖ Why."]} if shown else {})


def refusal(node: str, text: str = "Why.", workflow: str = "shown") -> str:
    """JavaScript that receives what a run is refused for, at the node of an expert."""
    told = {"node": node, "type": "MCDM_Expert", "text": text, "workflow": workflow}
    return f"api.receive('mcdm.refusal', {json.dumps(told)});"


@pytest.mark.parametrize(
    ("node", "text", "shown"),
    [("1", "Why.", {"1"}), ("5:12", "Why.", {"5", "12"}), ("1", "Another.", {"1", "2"}), ("9", "Why.", {"2"})],
    ids=["the same", "in a subgraph", "another sentence", "a node that is gone"],
)
def test_what_an_experts_node_says_is_not_said_by_the_node_that_ran(page, node, text, shown):
    (found,) = page(refusal(node, text), failure("ValueError", OURS), "say(notes());")
    assert found.keys() == shown


@pytest.mark.parametrize("workflow", ["shown", "another"])
def test_a_run_that_is_refused_leaves_what_prompts_are_refused_for(page, workflow):
    both, after = page(TWO, refusal("5:13", workflow=workflow), "say(notes());", refusals(), "say(notes());")
    assert both.keys() == {"1", "2"} | ({"5", "13"} if workflow == "shown" else set())
    assert after == {}


def test_what_was_mended_while_the_server_is_asked_is_not_said_again(page):
    (found,) = page(
        refusal("1"),
        failure("ValueError", OURS).split("await")[0] + "graph.getNodeById(1).onWidgetChanged('weight', 2, 1);",
        "await new Promise((resolve) => setTimeout(resolve, 50));",
        "say(notes());",
    )
    assert found == {}


def test_a_run_of_another_workflow_is_not_told_of_here(page):
    assert page(failure("ValueError", OURS, workflow="another"), "say(notes());") == [{}]


@pytest.mark.parametrize(("node", "node_type"), [("3", "KSampler"), ("5:12", "MCDM_Expert")])
def test_a_note_goes_when_any_node_that_it_stands_on_changes(page, node, node_type):
    outer = node.split(":")[0]
    noted, changed = page(
        refusals((node, node_type, "Why.")),
        "say(notes());",
        f"graph.getNodeById({outer}).onWidgetChanged('values', '0, 1', '0, 2');",
        "say(notes());",
    )
    assert noted[outer] == ["✖ Why."]
    assert changed == {}


def test_what_a_prompt_is_warned_of_stands_on_its_node_until_the_next_prompt(page):
    told = {"refusals": [], "warnings": [{"node": "1", "type": "MCDM_Expert", "text": "Nowhere."}], "workflow": "shown"}
    warned, other, after = page(
        f"api.receive('mcdm.refusals', {json.dumps(told)});",
        "say(notes());",
        "api.receive('executing', '2');",
        "say(notes());",
        refusals(),
        "say(notes());",
    )
    assert warned == other == {"1": ["⚠ Nowhere."]}
    assert after == {}
