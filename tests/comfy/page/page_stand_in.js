// What `web/mcdm.js` uses of ComfyUI's page: a graph with a subgraph, nodes with widgets, events.

class Graph {
  constructor(id, ...nodes) {
    Object.assign(this, { id, nodes });
    for (const node of nodes) Object.assign(node, { graph: this, pos: [0, 300 * node.id] });
  }
  getNodeById(id) {
    return this.nodes.find((node) => node.id === Number(id)) ?? null;
  }
}

export class GraphNode {
  constructor(id, comfyClass, { subgraph, inputs = [], widgets = [] } = {}) {
    Object.assign(this, { id, comfyClass, subgraph, inputs, widgets, size: [300, 205] });
  }
  addDOMWidget(name, type, element, options) {
    const widget = { name, type, element, options };
    this.widgets.push(widget);
    return widget;
  }
  removeWidget(widget) {
    this.widgets.splice(this.widgets.indexOf(widget), 1);
  }
  computeSize() {
    const heights = this.widgets.filter((widget) => !widget.advanced).map((widget) => widget.options?.getMinHeight?.() ?? 20);
    return [200, heights.reduce((sum, height) => sum + height, 180)];
  }
  setSize(size) {
    this.size = size;
  }
  setDirtyCanvas() {}
}

const inner = new Graph("inner", new GraphNode(12, "MCDM_Expert"), new GraphNode(13, "MCDM_Expert"));
export const graph = new Graph(
  "shown",
  new GraphNode(1, "MCDM_Expert"),
  new GraphNode(2, "MCDM_Guider"),
  new GraphNode(3, "KSampler"),
  new GraphNode(5, "subgraph", { subgraph: inner }),
);

class Canvas {
  static link_type_colors = {};
  default_connection_color_byType = {};
  graph = graph;
  raised = []; // ids of the nodes, as they were brought to the front
  bringToFront({ id }) {
    this.raised.push(id);
  }
}

const extensions = [];
export const call = (hook, node) => extensions.forEach((extension) => extension[hook]?.(node));
export const app = {
  rootGraph: graph,
  canvas: new Canvas(),
  registerExtension: (extension) => extensions.push(extension),
};

const listeners = [];
// By the ids of runs that have ended, what the server answers of them.
export const history = {};
export const api = {
  fetchApi: async (path) => ({ json: async () => history }),
  addEventListener: (kind, listener) => listeners.push([kind, listener]),
  receive: (kind, detail) => listeners.forEach(([of, listener]) => of === kind && listener({ detail })),
};

globalThis.document = {
  documentElement: { style: { setProperty() {} } },
  head: { appendChild: (element) => (document.rules = element) },
  createElement: () => ({ style: {} }),
};

export function start() {
  call("setup");
  for (const node of [...graph.nodes, ...inner.nodes]) call("nodeCreated", node);
}

export const say = (value) => console.log(JSON.stringify(value));

// What stands on nodes, by their ids.
export function notes() {
  const found = [...graph.nodes, ...inner.nodes].map((node) => [
    node.id,
    node.widgets.filter((widget) => widget.element).map((widget) => widget.element.textContent),
  ]);
  return Object.fromEntries(found.filter(([, texts]) => texts.length));
}
