package bench;

import java.io.IOException;
import java.nio.file.Path;

/** Says what runs here, as bench.Calls does first: {@code bench.Describe ROOT}. It unpacks Python's standard library. */
public final class Describe {
    private Describe() {}

    /** Ends with an exception where the languages do not run. */
    public static void main(String[] arguments) throws IOException {
        try (Languages languages = new Languages(Path.of(arguments[0]))) {
            languages.value("python", "import json");
            languages.value("js", "new Intl.NumberFormat('de-DE')");
            System.out.println(languages.description());
        }
    }
}
