package bench;

import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.graalvm.polyglot.Value;

/**
 * Calls from one guest language to the other: {@code bench.Calls DIRECTION ROOT}. First says what runs here; then each
 * line of standard input is an order for calls.py or calls.js, and its answer a line of standard output.
 */
public final class Calls {
    private Calls() {}

    /** Obeys until standard input ends. */
    public static void main(String[] arguments) throws IOException, InterruptedException {
        String direction = arguments[0];
        Path root = Path.of(arguments[1]);
        PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        // So that nothing printed by anybody is taken for an answer.
        System.setOut(System.err);
        BlockingQueue<String> orders = readOrders();
        try (Languages languages = new Languages(root)) {
            Value obey = obey(languages, direction);
            answers.println(languages.description());
            while (true) {
                answers.println(obey.execute(orders.take()).asString());
            }
        }
    }

    /** The function of the calling language that takes an order and gives the answer. */
    private static Value obey(Languages languages, String direction) throws IOException {
        return switch (direction) {
            case "py->ts" -> languages.global("python", "bench/graalvm/calls.py", "caller")
                    .execute(languages.javascriptFunctions(), languages.value("js", "Object.keys"));
            case "ts->py" -> languages.global("js", "bench/graalvm/calls.js", "caller")
                    .execute(languages.pythonFunctions());
            default -> throw new IllegalArgumentException(direction + " is no direction; there are py->ts and ts->py");
        };
    }

    /** Reads on a thread of its own, which ends the process, whatever it is doing, once nobody can give it orders. */
    private static BlockingQueue<String> readOrders() {
        BlockingQueue<String> orders = new LinkedBlockingQueue<>();
        Thread reader = new Thread(() -> {
            try (BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    orders.add(line);
                }
                Runtime.getRuntime().halt(0);
            } catch (IOException error) {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
        }, "orders");
        reader.setDaemon(true);
        reader.start();
        return orders;
    }
}
