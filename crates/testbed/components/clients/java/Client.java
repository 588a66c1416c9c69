import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Properties;

/**
 * Logs in with pgjdbc: by the URL that it is given, else by the URL that readers of Service Bindings put together from
 * single keys of a folder.
 */
public final class Client {
    private Client() {}

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("loginTimeout", "30");
        String url = arguments[0].startsWith("jdbc:") ? arguments[0] : of(Path.of(arguments[0]), properties);
        try (Connection connection = DriverManager.getConnection(url, properties);
                var rows = connection.createStatement().executeQuery("select current_user")) {
            rows.next();
            System.out.println(rows.getString(1));
        } catch (SQLException error) {
            System.err.println(error.getMessage() + (error.getCause() == null ? "" : ": " + error.getCause().getMessage()));
            System.exit(1);
        }
    }

    private static String of(Path folder, Properties properties) throws Exception {
        // As Spring Cloud Bindings and Quarkus do: the name of the authorities' file becomes a path in the folder.
        String url = "jdbc:postgresql://" + read(folder, "host") + ":" + read(folder, "port") + "/" + read(folder, "database");
        String separator = "?";
        for (String key : new String[] {"sslmode", "sslrootcert"}) {
            if (Files.exists(folder.resolve(key))) {
                String value = read(folder, key);
                url += separator + key + "=" + (key.equals("sslrootcert") ? folder.resolve(value) : value);
                separator = "&";
            }
        }
        properties.setProperty("user", read(folder, "username"));
        if (Files.exists(folder.resolve("password"))) {
            properties.setProperty("password", read(folder, "password"));
        } else {
            properties.setProperty("sslcert", folder.resolve("tls.crt").toString());
            properties.setProperty("sslkey", folder.resolve("tls.pk8").toString());
        }
        return url;
    }

    private static String read(Path folder, String key) throws Exception {
        return Files.readString(folder.resolve(key));
    }
}
