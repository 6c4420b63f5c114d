/** A page as a browser leaves it that has translated it: an element stands in the place of each text. */

export function translate(root: Node): void {
  for (const node of [...root.childNodes]) {
    if (node.nodeType !== node.TEXT_NODE) translate(node);
    else if (node.textContent) {
      const own = document.createElement("font");
      own.textContent = node.textContent;
      node.parentNode?.replaceChild(own, node);
    }
  }
}
