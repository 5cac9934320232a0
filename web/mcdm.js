// What the page adds for this pack: colours of its links, and warnings on the node that gave them.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const LINK_COLORS = { MCDM_EXPERTS: "#A3E635", MCDM_ENCODER: "#2FB5A0" };
const WARNING = "warning"; // name of the widget

function colorLinks() {
  Object.assign(app.canvas.default_connection_color_byType, LINK_COLORS);
  Object.assign(app.canvas.constructor.link_type_colors, LINK_COLORS);
  for (const [type, color] of Object.entries(LINK_COLORS)) {
    document.documentElement.style.setProperty(`--color-datatype-${type}`, color); // the slots of Nodes 2.0
  }
}

// A node by its execution id: "12", or "5:12" for node 12 inside the subgraph that node 5 shows.
function findNode(id) {
  let node;
  let graph = app.rootGraph ?? app.graph;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part));
    graph = node?.subgraph;
  }
  return node;
}

function clearWarning(node) {
  const place = node?.widgets?.findIndex((widget) => widget.name === WARNING) ?? -1;
  if (place >= 0) {
    const [widget] = node.widgets.splice(place, 1);
    widget.onRemove?.();
    node.setSize([node.size[0], widget.heightBefore]);
  }
}

function showWarning(node, text) {
  clearWarning(node);
  const heightBefore = node.size[1];
  const { widget } = app.widgets.STRING(node, WARNING, ["STRING", { multiline: true }], app);
  widget.value = text;
  widget.serialize = false; // not saved,
  widget.options.serialize = false; // and not queued
  widget.options.read_only = true;
  if (widget.element) widget.element.readOnly = true;
  widget.heightBefore = heightBefore;
  node.setSize([node.size[0], Math.max(heightBefore, node.computeSize()[1])]);
  node.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "mcdm",
  setup() {
    colorLinks();
    api.addEventListener("executing", ({ detail }) => detail && clearWarning(findNode(detail)));
    api.addEventListener("mcdm.warning", ({ detail }) => {
      const node = findNode(detail.node);
      if (node) showWarning(node, detail.text);
    });
  },
  afterConfigureGraph: colorLinks, // a change of the colour palette forgets types that it does not know
});
