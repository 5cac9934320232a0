// What the page adds for this pack: colours of its links, and warnings on the node that gave them.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const LINK_COLORS = { MCDM_EXPERTS: "#A3E635", MCDM_ENCODER: "#2FB5A0" };
const WARNING = "warning"; // name of the widget
const FONT_SIZE = 12; // px
const LINE_HEIGHT = 16; // px
const MOST_LINES = 10; // shown; others are scrolled to
const MARGIN = 4; // px that the classic rendering leaves on each side of the text, within the widget's height

function colorLinks() {
  Object.assign(app.canvas.default_connection_color_byType, LINK_COLORS);
  Object.assign(app.canvas.constructor.link_type_colors, LINK_COLORS);
  for (const [type, color] of Object.entries(LINK_COLORS)) {
    document.documentElement.style.setProperty(`--color-datatype-${type}`, color); // the slots of Nodes 2.0
  }
}

const shownGraph = () => app.rootGraph ?? app.graph;

// A node by its execution id: "12", or "5:12" for node 12 inside the subgraph that node 5 shows.
function findNode(id) {
  let node;
  let graph = shownGraph();
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part));
    graph = node?.subgraph;
  }
  return node;
}

// The page may show another workflow than the one that runs; its nodes have the same ids.
function isOrigin(node, { type, workflow }) {
  return (!type || type === (node.comfyClass ?? node.type)) && (!workflow || workflow === shownGraph().id);
}

function removeWidget(node, widget) {
  if (node.removeWidget) return node.removeWidget(widget); // also forgets the state that newer frontends keep of it
  node.widgets.splice(node.widgets.indexOf(widget), 1);
  widget.onRemove?.();
}

function clearWarning(node) {
  const widget = node?.widgets?.find((widget) => widget.name === WARNING);
  if (widget) {
    removeWidget(node, widget);
    node.setSize([node.size[0], widget.heightBefore]);
  }
}

function warningElement(text) {
  const element = document.createElement("div"); // no text field: it would look like another prompt
  element.textContent = text.replaceAll(/^/gm, "⚠ ");
  Object.assign(element.style, {
    ...{ boxSizing: "border-box", padding: "4px 8px", overflowY: "auto", whiteSpace: "pre-wrap" },
    ...{ font: `${FONT_SIZE}px/${LINE_HEIGHT}px sans-serif`, color: "#FFE2A8", background: "#4A3200" },
    ...{ borderLeft: "3px solid #F5A623", borderRadius: "4px", userSelect: "text" },
  });
  return element;
}

function heightOf(text, width) {
  const perLine = Math.max(10, (width - 60) / (0.52 * FONT_SIZE)); // letters, of a usual sans-serif font
  const lines = text.split("\n").reduce((sum, line) => sum + Math.ceil((line.length + 2) / perLine), 0);
  return Math.min(lines, MOST_LINES) * LINE_HEIGHT + 10;
}

function showWarning(node, text) {
  clearWarning(node);
  const heightBefore = node.size[1];
  const height = heightOf(text, node.size[0]) + 2 * MARGIN;
  const widget = node.addDOMWidget(WARNING, "mcdm_warning", warningElement(text), {
    serialize: false, // not queued,
    margin: MARGIN,
    getMinHeight: () => height,
    getMaxHeight: () => height,
  });
  widget.serialize = false; // and not saved
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
      if (node && isOrigin(node, detail)) showWarning(node, detail.text);
    });
  },
  afterConfigureGraph: colorLinks, // a change of the colour palette forgets types that it does not know
});
