-- A database with one of everything that tools ask about: what tools.jsonl was asked of, and what test_pg_dump.py dumps.
CREATE SCHEMA crm;
COMMENT ON SCHEMA crm IS 'who buys';
CREATE TYPE crm.status AS ENUM ('open', 'paid', 'sent');
COMMENT ON TYPE crm.status IS 'how far an order is';
CREATE DOMAIN crm.email AS text CONSTRAINT has_at CHECK (VALUE LIKE '%@%');
CREATE TYPE crm.address AS (street text, city text, zip varchar(10));
CREATE TYPE crm.span AS RANGE (subtype = numeric);
CREATE COLLATION crm.plain FROM "C";
CREATE SEQUENCE crm.ticket START 100 INCREMENT 5 CACHE 2;

CREATE TABLE crm.customer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL COLLATE crm.plain,
    email crm.email UNIQUE,
    home crm.address,
    tags text[] NOT NULL DEFAULT '{}',
    about jsonb,
    born date,
    since timestamptz NOT NULL DEFAULT now(),
    shout text GENERATED ALWAYS AS (upper(name)) STORED
);
COMMENT ON TABLE crm.customer IS 'people; "quoted" and ''apostrophed''';
COMMENT ON COLUMN crm.customer.email IS 'at least one @';
CREATE TABLE crm.orders (
    id serial PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES crm.customer ON DELETE CASCADE,
    status crm.status NOT NULL DEFAULT 'open',
    total numeric(12, 2) NOT NULL CHECK (total >= 0),
    placed timestamptz NOT NULL DEFAULT '2026-01-01 00:00+00',
    ticket bigint DEFAULT nextval('crm.ticket'),
    raw bytea,
    CONSTRAINT one_ticket UNIQUE (ticket) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX orders_by_status ON crm.orders (status, placed DESC) WHERE status <> 'paid';
CREATE INDEX customer_by_name ON crm.customer (lower(name));
CREATE INDEX customer_about ON crm.customer USING gin (about);
COMMENT ON INDEX crm.orders_by_status IS 'what is still to do';
CREATE STATISTICS crm.orders_together (dependencies) ON status, total FROM crm.orders;
ALTER TABLE crm.orders CLUSTER ON orders_pkey;
ALTER TABLE crm.orders SET (fillfactor = 80);

CREATE TABLE crm.line (
    order_id int REFERENCES crm.orders (id) DEFERRABLE,
    n smallint,
    what text,
    PRIMARY KEY (order_id, n)
);
CREATE TABLE public.measure (at timestamptz NOT NULL, value double precision, note text) PARTITION BY RANGE (at);
CREATE TABLE public.measure_2025 PARTITION OF public.measure FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE public.measure_2026 PARTITION OF public.measure FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE public.measure_rest PARTITION OF public.measure DEFAULT;
CREATE INDEX measure_at ON public.measure (at);
CREATE TABLE public.parent (a int, b text);
CREATE TABLE public.child (c int) INHERITS (public.parent);
CREATE TABLE public."Odd Name" ("The Key" uuid PRIMARY KEY, "Ünïcode" text, "select" int);
CREATE UNLOGGED TABLE public.scratch (a int, b crm.span, EXCLUDE USING gist (b WITH &&));
CREATE TABLE public.django_article (id bigserial PRIMARY KEY, title varchar(200) NOT NULL, body text, made timestamptz);

CREATE FUNCTION crm.total_of(who bigint, at_least numeric DEFAULT 0) RETURNS numeric LANGUAGE sql STABLE
    AS $$ SELECT coalesce(sum(total), 0) FROM crm.orders WHERE customer_id = who AND total >= at_least $$;
COMMENT ON FUNCTION crm.total_of IS 'what somebody has spent';
CREATE FUNCTION crm.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.placed := now(); RETURN NEW; END $$;
CREATE FUNCTION crm.twice(n int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT n * 2; END;
CREATE PROCEDURE crm.close_all() LANGUAGE plpgsql AS $$ BEGIN UPDATE crm.orders SET status = 'sent'; END $$;
CREATE AGGREGATE crm.product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1');
CREATE OPERATOR crm.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE CAST (crm.address AS text) WITH INOUT AS ASSIGNMENT;
CREATE TRIGGER touch_orders BEFORE UPDATE ON crm.orders FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION crm.touch();
CREATE RULE no_delete AS ON DELETE TO public.parent DO INSTEAD NOTHING;

CREATE VIEW crm.open_orders WITH (security_barrier) AS
    SELECT o.id, c.name, o.total FROM crm.orders o JOIN crm.customer c ON c.id = o.customer_id WHERE o.status = 'open';
COMMENT ON VIEW crm.open_orders IS 'the day''s work';
CREATE VIEW crm.big AS SELECT * FROM crm.open_orders WHERE total > 50 WITH LOCAL CHECK OPTION;
CREATE MATERIALIZED VIEW crm.spent AS SELECT customer_id, sum(total) AS total FROM crm.orders GROUP BY 1;
CREATE UNIQUE INDEX spent_customer ON crm.spent (customer_id);

ALTER TABLE crm.customer ENABLE ROW LEVEL SECURITY;
CREATE POLICY only_own ON crm.customer FOR SELECT TO PUBLIC USING (name = current_user);
CREATE PUBLICATION everything FOR TABLE crm.orders, crm.line;
ALTER TABLE crm.line REPLICA IDENTITY FULL;
GRANT USAGE ON SCHEMA crm TO PUBLIC;
GRANT SELECT, INSERT ON crm.orders TO PUBLIC;
GRANT SELECT (name), UPDATE (name) ON crm.customer TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA crm GRANT SELECT ON TABLES TO PUBLIC;
CREATE FUNCTION crm.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION crm.watch();

INSERT INTO crm.customer (name, email, home, tags, about, born)
    SELECT 'n' || i, 'n' || i || '@example.org', ROW ('s', 'c' || i, i::text)::crm.address, ARRAY['a', 'b''c'],
        jsonb_build_object('n', i), '2000-01-01'::date + i FROM generate_series(1, 20) i;
INSERT INTO crm.orders (customer_id, status, total, raw)
    SELECT 1 + i % 20, (ENUM_RANGE(NULL::crm.status))[1 + i % 3], i, decode('00ff', 'hex') FROM generate_series(1, 50) i;
INSERT INTO crm.line SELECT i, 1, E'tab\there, \\ and \n a line' FROM generate_series(1, 50) i;
INSERT INTO public.measure SELECT timestamptz '2025-06-01 00:00+00' + i * interval '20 days', i / 3.0, NULL
    FROM generate_series(1, 60) i;
INSERT INTO public.parent VALUES (1, 'p');
INSERT INTO public.child VALUES (2, 'q', 3);
INSERT INTO public."Odd Name" VALUES ('00000000-0000-0000-0000-000000000001', 'ü', 1);
INSERT INTO public.django_article (title, body, made) VALUES ('first', 'word', '2026-01-01 00:00+00');
REFRESH MATERIALIZED VIEW crm.spent;
ANALYZE;
