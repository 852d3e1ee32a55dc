import type { Vital, Vitals } from '../../ports/vitals.ts';
import type { Link, Tx } from './link.ts';
import { FLOW, TOMBSTONE } from './names.ts';

/** What Neo4j says about itself. */
export async function readVitals(link: Link): Promise<Vitals> {
  return link.read(async (tx) => {
    const [component] = await tx.run(
      `CALL dbms.components() YIELD name, versions, edition WHERE name = 'Neo4j Kernel' RETURN versions[0] AS version, edition`,
    );
    const measures: Vital[] = [
      {
        name: 'edition',
        value: String(component?.['edition']),
        about: 'Community has no cluster and no change capture.',
      },
      await counted(
        tx,
        'nodes',
        'MATCH (n) RETURN count(n) AS count',
        'Nodes, the coordinator’s own among them.',
      ),
      await counted(
        tx,
        'relationships',
        'MATCH ()-[r]->() RETURN count(r) AS count',
        'Relationships.',
      ),
      await counted(
        tx,
        'tombstones',
        `MATCH (n:${TOMBSTONE}) RETURN count(n) AS count`,
        'Fences that deleted rows have left.',
      ),
      await counted(
        tx,
        'flows',
        `MATCH (n:${FLOW}) RETURN count(n) AS count`,
        'Flows with a checkpoint here.',
      ),
    ];
    const { version = '' } = (component ?? {}) as { readonly version?: string };
    return { system: 'neo4j', version, measures };
  });
}

async function counted(tx: Tx, name: string, text: string, about: string): Promise<Vital> {
  const [row] = await tx.run(text);
  return { name, value: Number(row?.['count'] ?? 0), unit: 'count', about };
}
