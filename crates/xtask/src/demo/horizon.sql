-- The logical database of a small shop.
CREATE SCHEMA orders;
CREATE TABLE orders.customers (id int PRIMARY KEY, name text NOT NULL, country text NOT NULL);
CREATE TABLE orders.orders (
    id int PRIMARY KEY,
    customer int NOT NULL REFERENCES orders.customers,
    ordered date NOT NULL,
    total numeric(10, 2) NOT NULL
);
INSERT INTO orders.customers VALUES (1, 'Harbour Cafe', 'NL'), (2, 'Nordlicht GmbH', 'DE'), (3, 'Casa Pepe', 'ES');
INSERT INTO orders.orders VALUES
    (1001, 1, '2026-03-02', 129.50), (1002, 2, '2026-03-02', 980.00), (1003, 1, '2026-03-05', 64.20),
    (1004, 3, '2026-03-06', 310.75), (1005, 2, '2026-03-09', 1250.00);

CREATE SCHEMA hr;
CREATE TABLE hr.employees (id int PRIMARY KEY, name text NOT NULL, department text NOT NULL, salary int NOT NULL);
INSERT INTO hr.employees VALUES
    (1, 'Ines', 'Payments', 5200), (2, 'Jonas', 'Payments', 4900), (3, 'Mia', 'Warehouse', 4100);

-- What people may do is written in database roles, as before. Nobody logs in as them.
CREATE ROLE reader NOLOGIN;
GRANT USAGE ON SCHEMA orders, hr TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA orders, hr TO reader;

-- The only user that Rolecall logs in as. CREATEROLE is all that it needs, and on PostgreSQL 16 and later the right to
-- pass on the roles that it gives.
CREATE ROLE "teleport-admin" LOGIN CREATEROLE;
GRANT reader TO "teleport-admin" WITH ADMIN OPTION;
