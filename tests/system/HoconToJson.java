import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigRenderOptions;
import java.io.File;

/** Prints each configuration file as JSON, one a line, as Cromwell's own parser reads it. */
class HoconToJson {
    public static void main(String[] files) {
        for (String file : files) {
            var config = ConfigFactory.parseFile(new File(file)).resolve();
            System.out.println(config.root().render(ConfigRenderOptions.concise()));
        }
    }
}
