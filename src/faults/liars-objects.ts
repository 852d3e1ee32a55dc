import type { Objects } from '../ports/objects.ts';
import type { Liar } from './liars-shape.ts';

/** Stores of objects that each break one promise of the port. */
export const objectsLiars: Readonly<Record<string, Liar<Objects>>> = {
  ignoresTheCondition: {
    lie: 'replaces an object that the caller did not expect',
    caughtBy: 'OB-031',
    wrap: (objects) => ({
      ...delegate(objects),
      put: (key, body, { metadata } = {}) =>
        objects.put(key, body, metadata === undefined ? {} : { metadata }),
    }),
  },
  createsOverOthers: {
    lie: 'creates an object where there is one already',
    caughtBy: 'OB-030',
    wrap: (objects) => ({
      ...delegate(objects),
      put: (key, body, options = {}) => {
        const { ifNoneMatch: _, ...rest } = options;
        return objects.put(key, body, rest);
      },
    }),
  },
  showsParts: {
    lie: 'shows the first chunk of an object before the rest has come',
    caughtBy: 'OB-011',
    wrap: (objects) => ({
      ...delegate(objects),
      put: async (key, body, options) => {
        if (body instanceof Uint8Array) return objects.put(key, body, options);
        const chunks: Uint8Array[] = [];
        for await (const chunk of body) {
          chunks.push(chunk);
          await objects.put(key, Buffer.concat(chunks), options);
        }
        return objects.put(key, Buffer.concat(chunks), options);
      },
    }),
  },
};

function delegate(objects: Objects): Objects {
  return {
    supports: objects.supports,
    put: (key, body, options) => objects.put(key, body, options),
    get: (key, options) => objects.get(key, options),
    head: (key) => objects.head(key),
    delete: (key, options) => objects.delete(key, options),
    list: (prefix, options) => objects.list(prefix, options),
    createMultipart: (key) => objects.createMultipart(key),
  };
}
