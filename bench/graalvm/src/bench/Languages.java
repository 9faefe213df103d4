package bench;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.graalvm.polyglot.Context;
import org.graalvm.polyglot.Engine;
import org.graalvm.polyglot.Source;
import org.graalvm.polyglot.Value;

/** Python and JavaScript in one context, with what the bench calls in each. One thread at a time may be in it. */
final class Languages implements AutoCloseable {
    private final Engine engine;
    private final Path root;
    private final Context context;

    /** Starts both. {@code root} is the project's folder. What a guest prints goes to standard error. */
    Languages(Path root) {
        this.root = root;
        // What this would warn of is in the description.
        engine = Engine.newBuilder("python", "js").option("engine.WarnInterpreterOnly", "false").build();
        context = Context.newBuilder("python", "js")
                .engine(engine)
                .allowAllAccess(true)
                .out(System.err)
                .err(System.err)
                .option("js.intl-402", "true")
                .option("python.PythonPath", root.toString())
                .build();
    }

    /** The functions of workload.ts, by name: an object of JavaScript. */
    Value javascriptFunctions() throws IOException {
        evaluate("js", "bench/build/workload.js");
        return context.eval("js", "workload.FUNCTIONS");
    }

    /** The functions of workload.py, by name: a dict of Python. */
    Value pythonFunctions() {
        return context.eval("python", "from bench import workload\nworkload.FUNCTIONS");
    }

    /** The global of that name in a guest language, after that file, named from the root, has been run in it. */
    Value global(String language, String file, String name) throws IOException {
        evaluate(language, file);
        Value value = context.getBindings(language).getMember(name);
        if (value == null) {
            throw new IllegalStateException(file + " defines no " + name);
        }
        return value;
    }

    /** The value of an expression of a guest language. */
    Value value(String language, String expression) {
        return context.eval(language, expression);
    }

    private void evaluate(String language, String file) throws IOException {
        context.eval(Source.newBuilder(language, root.resolve(file).toFile()).build());
    }

    /** What runs here, in one line, with what the engine itself says of its compiler. */
    String description() throws IOException {
        String name = engine.getImplementationName();
        return "%s %s on %s %s: GraalPy (Python %s) and GraalJS, %s".formatted(
                // This is what an engine without a compiler calls itself.
                name.equals("Interpreted") ? "GraalVM" : name,
                version(),
                System.getProperty("java.vm.name"),
                System.getProperty("java.vendor.version", System.getProperty("java.version")),
                engine.getLanguages().get("python").getVersion(),
                name.equals("Interpreted")
                        ? "only interpreted: no optimising compiler"
                        : "the optimising compiler is active");
    }

    /** Of the libraries: on a JDK that is no GraalVM the engine calls itself a development build. */
    private static String version() throws IOException {
        String place = "/META-INF/graalvm/org.graalvm.polyglot/version";
        try (InputStream file = Engine.class.getResourceAsStream(place)) {
            if (file == null) {
                throw new IOException("the jar of org.graalvm.polyglot has no " + place);
            }
            return new String(file.readAllBytes(), StandardCharsets.UTF_8).strip();
        }
    }

    @Override
    public void close() {
        context.close(true);
        engine.close(true);
    }
}
