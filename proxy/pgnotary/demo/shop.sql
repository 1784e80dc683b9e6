-- The demo's database: a shop whose orders somebody is about to clean up. Run as the role that pgnotary logs in as.
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE
);

CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    status text NOT NULL CHECK (status IN ('open', 'paid', 'shipped', 'stale')),
    total numeric(10, 2) NOT NULL,
    placed_at timestamptz NOT NULL
);

CREATE TABLE order_items (
    order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE,
    line int NOT NULL,
    product text NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, line)
);

INSERT INTO customers (name, email)
SELECT 'Customer ' || i, 'customer' || i || '@example.com'
FROM generate_series(1, 5000) AS i;

INSERT INTO orders (customer_id, status, total, placed_at)
SELECT
    1 + i % 5000,
    CASE WHEN i % 40 = 0 THEN 'stale' ELSE (ARRAY['open', 'paid', 'shipped'])[1 + i % 3] END,
    (i * 7919 % 100000) / 100.0,
    timestamptz '2024-01-01 00:00:00+00' + i * interval '13 minutes'
FROM generate_series(1, 50000) AS i;

INSERT INTO order_items (order_id, line, product, quantity)
SELECT o.id, line, 'Product ' || (o.id * line) % 997, 1 + (o.id + line) % 4
FROM orders AS o, generate_series(1, 2) AS line;

ANALYZE;
