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
CREATE TABLE hr.employees (id int PRIMARY KEY, name text NOT NULL, department text NOT NULL);
CREATE TABLE hr.salaries (employee int PRIMARY KEY REFERENCES hr.employees, salary int NOT NULL);
CREATE VIEW hr.v_headcount AS SELECT department, count(*) AS people FROM hr.employees GROUP BY department;
INSERT INTO hr.employees VALUES (1, 'Ines', 'Payments'), (2, 'Jonas', 'Payments'), (3, 'Mia', 'Warehouse');
INSERT INTO hr.salaries VALUES (1, 5200), (2, 4900), (3, 4100);

-- What people may do can be written in database roles, as before. Nobody logs in as them.
CREATE ROLE reader NOLOGIN;
CREATE ROLE "team-blue" NOLOGIN;
CREATE ROLE "team-green" NOLOGIN;
GRANT USAGE ON SCHEMA orders TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA orders TO reader;

-- The only user that Rolecall logs in as. CREATEROLE is all that it needs, and on PostgreSQL 16 and later the right to
-- pass on the roles that it gives.
CREATE ROLE "teleport-admin" LOGIN CREATEROLE;
GRANT reader, "team-blue", "team-green" TO "teleport-admin" WITH ADMIN OPTION;

-- Or it can be decided object by object, from labels. Then it must be able to pass on the rights on the objects
-- themselves, also on those that are made later.
GRANT USAGE ON SCHEMA hr TO "teleport-admin" WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA hr TO "teleport-admin" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA hr GRANT SELECT ON TABLES TO "teleport-admin" WITH GRANT OPTION;
