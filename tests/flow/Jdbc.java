import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/** Takes `delete N`, `count` and `cancel`, one a line; answers the first two with `rows N` or `error SQLSTATE WORDS`. */
class Jdbc {
    public static void main(String[] where) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        try (Connection connection = DriverManager.getConnection(where[0], where[1], where[2]);
                PreparedStatement delete = connection.prepareStatement("DELETE FROM orders WHERE id <= ?");
                PreparedStatement count = connection.prepareStatement("SELECT count(*) FROM orders")) {
            for (String line; (line = commands.readLine()) != null; ) {
                String[] words = line.split(" ");
                switch (words[0]) {
                    case "delete" -> {
                        delete.setInt(1, Integer.parseInt(words[1]));
                        // Beside us, who go on reading: a cancel comes while it waits.
                        new Thread(() -> answer(delete::executeUpdate)).start();
                    }
                    case "count" -> answer(() -> first(count));
                    case "cancel" -> delete.cancel();
                    default -> throw new IllegalArgumentException(line);
                }
            }
        }
    }

    interface Work {
        int rows() throws SQLException;
    }

    static int first(PreparedStatement query) throws SQLException {
        try (ResultSet found = query.executeQuery()) {
            found.next();
            return found.getInt(1);
        }
    }

    static void answer(Work work) {
        try {
            System.out.println("rows " + work.rows());
        } catch (SQLException error) {
            System.out.println("error " + error.getSQLState() + " " + error.getMessage().lines().findFirst().orElse(""));
        }
    }
}
