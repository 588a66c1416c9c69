-- Lets a database announce to Rolecall that objects, or rights on them, have changed. Run it once in each logical
-- database, as a superuser (on Amazon RDS: as a member of rds_superuser):
--
--     psql -d horizon -f deploy/postgresql/announce_objects.sql
--
-- Without it Rolecall looks at the objects every objectSync. What is announced is only that something has changed.
-- Temporary objects are not announced. A transaction that changes objects and is prepared (PREPARE TRANSACTION) is
-- refused by PostgreSQL once this is installed, as it would have to announce.
--
-- To take it away:
--
--     DROP EVENT TRIGGER rolecall_objects_changed; DROP EVENT TRIGGER rolecall_objects_dropped;
--     DROP FUNCTION public.rolecall_announce_changed(), public.rolecall_announce_dropped();

BEGIN;

CREATE OR REPLACE FUNCTION public.rolecall_announce_changed() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_event_trigger_ddl_commands() WHERE schema_name IS DISTINCT FROM 'pg_temp') THEN
    NOTIFY rolecall_objects;
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
