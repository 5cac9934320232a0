"""The pictures that the workflows load, where ComfyUI's Load Image finds them."""

from pathlib import Path

import nodes

from ...support.workflow_twins import read_json

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "workflows" / "api"


def test_load_image_lists_every_picture_of_the_workflows(pack):
    (listed, _) = nodes.LoadImage.INPUT_TYPES()["required"]["image"]
    shipped = [node for path in SHIPPED.glob("*.json") for node in read_json(path).values()]
    loaded = {node["inputs"]["image"] for node in shipped if node["class_type"] == "LoadImage"}
    assert len(loaded) == 8
    assert loaded <= set(listed)


def test_a_changed_picture_is_restored_and_others_are_left_alone(host, base):
    changed, users = base / "input" / "mcdm_face_1.png", base / "input" / "face_1.png"
    for path in (changed, users):
        path.write_bytes(b"changed")
    host.files.expert_folders.install_example_inputs()
    assert changed.read_bytes() == (ROOT / "workflows" / "inputs" / "face_1.png").read_bytes()
    assert users.read_bytes() == b"changed"
    users.unlink()
