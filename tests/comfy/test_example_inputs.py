"""The pictures that the workflows load, where ComfyUI's Load Image finds them."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "workflows" / "api"
BEFORE = Path(__file__).parent / "data" / "workflows_before" / "inputs_in_a_subfolder" / "api"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def loaded_pictures(prompts: Iterable[dict]) -> set[str]:
    """Pictures that workflows load."""
    nodes = [node for prompt in prompts for node in prompt.values()]
    return {node["inputs"]["image"] for node in nodes if node["class_type"] == "LoadImage"}


def test_load_image_lists_every_picture_of_the_workflows(pack):
    import nodes

    (listed, _) = nodes.LoadImage.INPUT_TYPES()["required"]["image"]
    loaded = loaded_pictures(map(read, SHIPPED.glob("*.json")))
    assert len(loaded) == 8
    assert loaded <= set(listed)


def test_pictures_that_earlier_workflows_name_are_where_they_were_once_a_prompt_names_them(host, base):
    import nodes

    examples, former = host.files.example_inputs, base / "input" / "mcdm"
    shutil.rmtree(former, ignore_errors=True)
    examples.install_example_inputs()
    examples.install_former_inputs({"prompt": read(SHIPPED / "faces.json")})
    assert not former.exists()
    asked = {"prompt": read(BEFORE / "faces.json")}
    assert examples.install_former_inputs(asked) is asked
    assert asked == {"prompt": read(BEFORE / "faces.json")}
    named = loaded_pictures([asked["prompt"]])
    assert {f"mcdm/{path.name}" for path in former.iterdir()} == named
    assert all(nodes.LoadImage.VALIDATE_INPUTS(name) is True for name in named)
    shutil.rmtree(former)


def test_no_prompt_at_all_is_passed_on(host):
    assert host.files.example_inputs.install_former_inputs({"number": 1}) == {"number": 1}


def test_a_changed_picture_is_restored_and_others_are_left_alone(host, base):
    changed, users = base / "input" / "mcdm_face_1.png", base / "input" / "face_1.png"
    for path in (changed, users):
        path.write_bytes(b"changed")
    host.files.example_inputs.install_example_inputs()
    assert changed.read_bytes() == (ROOT / "workflows" / "inputs" / "face_1.png").read_bytes()
    assert users.read_bytes() == b"changed"
    users.unlink()
