package bench;

import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.Executors;
import org.graalvm.polyglot.PolyglotException;
import org.graalvm.polyglot.Value;

/**
 * The showcase's TypeScript server with Python in its own process: {@code bench.Server PORT ROOT}. The routes are in
 * server.js, which calls python_side/ml_service.py; here is what a JVM has for HTTP. Says `ready` once it listens.
 */
public final class Server {
    private static final int MAX_BODY_BYTES = 1 << 20;
    private static final int BACKLOG = 128;
    /** They read requests and write answers side by side; in the languages only one of them is at a time. */
    private static final int THREADS = 16;

    private final Languages languages;
    private final Value answer;

    private Server(Languages languages) throws IOException {
        this.languages = languages;
        Value model = languages.value("python", "from python_side import ml_service\nml_service");
        answer = languages.global("js", "bench/graalvm/server.js", "server").execute(model, languages.description());
    }

    /** Serves until the process is ended. */
    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(arguments[0]);
        // Without it, an answer that takes two packets waits for the client's delayed acknowledgement.
        System.setProperty("sun.net.httpserver.nodelay", "true");
        Server server = new Server(new Languages(Path.of(arguments[1])));
        HttpServer http = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), BACKLOG);
        http.createContext("/", server::serve);
        http.setExecutor(Executors.newFixedThreadPool(THREADS));
        http.start();
        System.out.println("ready");
    }

    private void serve(HttpExchange exchange) throws IOException {
        try (exchange) {
            byte[] body = exchange.getRequestBody().readNBytes(MAX_BODY_BYTES + 1);
            if (body.length > MAX_BODY_BYTES) {
                send(exchange, 413, "The request body is larger than " + MAX_BODY_BYTES + " bytes");
                return;
            }
            String text;
            try {
                text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(body)).toString();
            } catch (CharacterCodingException error) {
                send(exchange, 400, "Malformed JSON: not UTF-8");
                return;
            }
            answer(exchange, text);
        }
    }

    private void answer(HttpExchange exchange, String text) throws IOException {
        int status;
        String body;
        try {
            // A context that has JavaScript in it admits one thread at a time.
            synchronized (languages) {
                Value answered = answer.execute(
                        exchange.getRequestMethod(), exchange.getRequestURI().getRawPath(), text);
                status = answered.getMember("status").asInt();
                body = answered.getMember("body").asString();
                if (answered.hasMember("allow")) {
                    exchange.getResponseHeaders().set("Allow", answered.getMember("allow").asString());
                }
            }
        } catch (PolyglotException error) {
            error.printStackTrace();
            send(exchange, 500, "Internal server error");
            return;
        }
        sendBody(exchange, status, body);
    }

    /** {@code message} needs no escapes in JSON. */
    private static void send(HttpExchange exchange, int status, String message) throws IOException {
        sendBody(exchange, status, "{\"error\":\"" + message + "\"}");
    }

    private static void sendBody(HttpExchange exchange, int status, String body) throws IOException {
        Headers headers = exchange.getResponseHeaders();
        headers.set("Access-Control-Allow-Origin", "*");
        headers.set("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
        headers.set("Access-Control-Allow-Headers", "Content-Type");
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        if (exchange.getRequestMethod().equals("HEAD") || bytes.length == 0) {
            exchange.sendResponseHeaders(status, -1);
            return;
        }
        headers.set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length);
        try (OutputStream out = exchange.getResponseBody()) {
            out.write(bytes);
        }
    }
}
