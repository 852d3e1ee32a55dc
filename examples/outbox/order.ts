/** What a customer orders, and what the message about it says. */
export interface NewOrder {
  readonly customer: string;
  /** As text: money is no floating-point number. */
  readonly total: string;
}

/** The application's own table. The outbox beside it is made by `createOutbox` of tallystick/postgres. */
export const ordersSql = `
  CREATE TABLE IF NOT EXISTS orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    total numeric(12,2) NOT NULL
  )`;
