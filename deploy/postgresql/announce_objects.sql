-- Lets a database announce to Rolecall that objects, or rights on them, have changed. Run it once in each logical
-- database, as a superuser (on Amazon RDS: as a member of rds_superuser):
--
--     psql -d horizon -f deploy/postgresql/announce_objects.sql
--
-- It may be run again, also where an earlier version of it was run.
--
-- Without it Rolecall looks at the objects every objectSync. What is announced are the numbers of the objects that were made
-- or altered, so that Rolecall looks at these alone: c16385 in pg_class, p16390 in pg_proc, n2200 in pg_namespace. Where
-- these are not known (the server does not say on what GRANT and REVOKE were), where others may have changed with them
-- (a schema, an extension), where something was dropped, or where they are more than fifty, it is only that something
-- has changed. Temporary objects are not announced. A transaction that changes objects and is prepared (PREPARE TRANSACTION) is
-- refused by PostgreSQL once this is installed, as it would have to announce.
--
-- To take it away:
--
--     DROP EVENT TRIGGER rolecall_objects_changed; DROP EVENT TRIGGER rolecall_objects_dropped;
--     DROP FUNCTION public.rolecall_announce_changed(), public.rolecall_announce_dropped();

BEGIN;

CREATE OR REPLACE FUNCTION public.rolecall_announce_changed() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
DECLARE
  nameless pg_catalog.bool;
  named pg_catalog.text;
  many pg_catalog.int8;
BEGIN
  SELECT pg_catalog.bool_or(c.objid IS NULL OR c.in_extension OR CASE c.classid
      WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN false
      WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN false
      WHEN 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN c.command_tag <> 'CREATE SCHEMA'
      ELSE true END)
    INTO nameless
    FROM pg_catalog.pg_event_trigger_ddl_commands() c WHERE c.schema_name IS DISTINCT FROM 'pg_temp';
  IF nameless IS NULL THEN
    RETURN;
  END IF;
  -- A sequence moves to another schema with the table that it belongs to.
  SELECT pg_catalog.string_agg(o.name, ','), pg_catalog.count(*) INTO named, many FROM (
    SELECT CASE c.classid WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN 'c'
        WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN 'p' ELSE 'n' END || c.objid AS name
      FROM pg_catalog.pg_event_trigger_ddl_commands() c
      WHERE c.schema_name IS DISTINCT FROM 'pg_temp' AND c.object_type <> 'index'
    UNION
    SELECT 'c' || s.oid FROM pg_catalog.pg_event_trigger_ddl_commands() c
      JOIN pg_catalog.pg_depend d ON d.refclassid = c.classid AND d.refobjid = c.objid
      JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
      WHERE c.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.schema_name IS DISTINCT FROM 'pg_temp'
        AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass) o;
  IF nameless OR many > 50 THEN
    NOTIFY rolecall_objects;
  ELSIF many > 0 THEN
    PERFORM pg_catalog.pg_notify('rolecall_objects', named);
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION public.rolecall_announce_dropped() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_event_trigger_dropped_objects() WHERE original AND NOT is_temporary) THEN
    NOTIFY rolecall_objects;
  END IF;
END
$function$;

-- Whoever owns them could let superusers run something else: a function that was there before keeps its owner.
ALTER FUNCTION public.rolecall_announce_changed() OWNER TO CURRENT_USER;
ALTER FUNCTION public.rolecall_announce_dropped() OWNER TO CURRENT_USER;

DROP EVENT TRIGGER IF EXISTS rolecall_objects_changed;
CREATE EVENT TRIGGER rolecall_objects_changed ON ddl_command_end
WHEN TAG IN (
  'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE VIEW', 'CREATE MATERIALIZED VIEW', 'CREATE FOREIGN TABLE',
  'IMPORT FOREIGN SCHEMA', 'CREATE SEQUENCE', 'CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'CREATE SCHEMA',
  'CREATE EXTENSION', 'ALTER EXTENSION',
  'ALTER TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE', 'ALTER SEQUENCE', 'ALTER FUNCTION',
  'ALTER PROCEDURE', 'ALTER ROUTINE', 'ALTER AGGREGATE', 'ALTER SCHEMA',
  'DROP OWNED', 'GRANT', 'REVOKE')
EXECUTE FUNCTION public.rolecall_announce_changed();

DROP EVENT TRIGGER IF EXISTS rolecall_objects_dropped;
CREATE EVENT TRIGGER rolecall_objects_dropped ON sql_drop EXECUTE FUNCTION public.rolecall_announce_dropped();

COMMIT;
