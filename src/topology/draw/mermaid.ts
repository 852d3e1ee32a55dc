import { flowsOf } from '../graph.ts';
import type { StoreNode } from '../model.ts';
import type { Topology } from '../topology.ts';

/** The topology as a Mermaid flowchart, for pages that render it: https://mermaid.js.org/syntax/flowchart.html */
export function mermaidOf(topology: Topology): string {
  const names = new Map<string, string>();
  const idOf = (kind: string, name: string): string => {
    const key = `${kind} ${name}`;
    const known = names.get(key);
    if (known !== undefined) return known;
    const id = `${kind}${names.size}`;
    names.set(key, id);
    return id;
  };
  const lines = ['flowchart LR'];
  for (const { name } of topology.services.values()) {
    lines.push(
      `  subgraph ${idOf('group', name)}["${quoted(name)}"]`,
      `    ${idOf('service', name)}(["${quoted(name)}"])`,
    );
    for (const store of topology.stores.values())
      if (store.users.length === 1 && store.users[0]?.service === name)
        lines.push(`    ${node(store)}`);
    lines.push('  end');
  }
  for (const store of topology.stores.values()) {
    if (store.users.length !== 1) lines.push(`  ${node(store)}`);
    for (const { service } of store.users)
      lines.push(`  ${idOf('service', service)} --- ${idOf('store', store.id)}`);
  }
  for (const { name, calls = [] } of topology.services.values())
    for (const { to, mode } of calls)
      lines.push(
        `  ${idOf('service', name)} ${mode === 'async' ? '-.->' : '-->'} ${idOf('service', to)}`,
      );
  for (const { flow, from, to } of flowsOf(topology))
    lines.push(`  ${idOf('store', from.id)} ==>|${flow.by}| ${idOf('store', to.id)}`);
  return `${lines.join('\n')}\n`;

  function node(store: StoreNode): string {
    return `${idOf('store', store.id)}[("${quoted(`${store.id}<br/>${store.title}`)}")]`;
  }
}

function quoted(text: string): string {
  return text.replaceAll('"', '#quot;');
}
