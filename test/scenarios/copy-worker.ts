import { copyApp, type CopyApp } from '../support/copy-app.ts';
import { put } from 'tallystick';

/** What `tally` runs in tests: the folder comes from COPY_DIR, and with COPY_HEALED its projection is right. */
const dir = process.env['COPY_DIR'] ?? '.';

const app: CopyApp = copyApp(dir, {
  flow: {
    project: (row) => {
      if (process.env['COPY_HEALED'] === undefined && row['sku'] === 'bad')
        throw new Error('no such category');
      return put('documents', [row['sku'] as string], row);
    },
  },
});

export default app;
