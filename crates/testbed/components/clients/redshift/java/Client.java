import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Properties;

/** Logs in to Redshift with its JDBC driver and runs statements, by the files in a folder; prints what became of each. */
public final class Client {
    private Client() {}

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        Properties settings = new Properties();
        for (String line : Files.readAllLines(folder.resolve("settings"))) {
            int at = line.indexOf('=');
            settings.setProperty(line.substring(0, at), line.substring(at + 1));
        }
        String url = "jdbc:redshift://" + settings.getProperty("host") + ":" + settings.getProperty("port")
                + "/" + settings.getProperty("database");
        Properties properties = new Properties();
        properties.setProperty("user", settings.getProperty("user"));
        properties.setProperty("password", settings.getProperty("password"));
        properties.setProperty("ssl", "true");
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", folder.resolve("ca.pem").toString());
        properties.setProperty("loginTimeout", "30");
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            for (String statement : Files.readAllLines(folder.resolve("statements"))) {
                run(connection, statement);
            }
        } catch (SQLException error) {
            System.out.println("login " + error.getSQLState());
            System.err.println(error.getMessage());
        }
    }

    private static void run(Connection connection, String text) {
        try (var statement = connection.createStatement()) {
            if (statement.execute(text)) {
                try (var rows = statement.getResultSet()) {
                    int columns = rows.getMetaData().getColumnCount();
                    while (rows.next()) {
                        StringBuilder line = new StringBuilder("row ");
                        for (int column = 1; column <= columns; column++) {
                            String value = rows.getString(column);
                            line.append(column == 1 ? "" : "|").append(value == null ? "-" : value);
                        }
                        System.out.println(line);
                    }
                }
            }
            System.out.println("done");
        } catch (SQLException error) {
            System.out.println("error " + error.getSQLState());
        }
    }
}
