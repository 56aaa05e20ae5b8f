import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.FileOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import net.minidev.json.JSONObject;
import net.minidev.json.parser.JSONParser;
import org.apache.storm.Config;
import org.apache.storm.LocalCluster;
import org.apache.storm.flux.wrappers.bolts.FluxShellBolt;
import org.apache.storm.spout.SpoutOutputCollector;
import org.apache.storm.task.OutputCollector;
import org.apache.storm.task.TopologyContext;
import org.apache.storm.topology.OutputFieldsDeclarer;
import org.apache.storm.topology.TopologyBuilder;
import org.apache.storm.topology.base.BaseRichBolt;
import org.apache.storm.topology.base.BaseRichSpout;
import org.apache.storm.tuple.Fields;
import org.apache.storm.tuple.Tuple;
import org.apache.storm.tuple.Values;

/**
 * The topologies of benches/peers and benches/shell.py on Storm, each acked, in a LocalCluster:
 *
 * <pre>
 * Peer wordcount INPUT OUT TASKS
 * Peer capture   INPUT OUT TASKS POSTS_A_FILE
 * Peer echo      TUPLES PENDING COMMAND...
 * </pre>
 *
 * The last line on standard output is JSON with the seconds from the first tuple to the last ack
 * (of `echo`: from a quarter of the tuples on, so that the compiler of the JVM has done its work).
 */
public final class Peer {
    /** How many tuples of a spout are on their way at most. */
    private static final int SPOUT_PENDING = 5_000;

    // A LocalCluster has all tasks in this process.
    private static final CountDownLatch DONE = new CountDownLatch(1);
    private static final AtomicLong BEGUN = new AtomicLong();
    private static final AtomicLong ENDED = new AtomicLong();
    private static final Map<String, Long> COUNTS = new ConcurrentHashMap<>();

    public static void main(String[] words) throws Exception {
        TopologyBuilder builder = new TopologyBuilder();
        Config config = new Config();
        config.setMaxSpoutPending(SPOUT_PENDING);
        switch (words[0]) {
            case "wordcount": {
                int tasks = Integer.parseInt(words[3]);
                builder.setSpout("in", new Lines(words[1]));
                builder.setBolt("words", new Words(), tasks).localOrShuffleGrouping("in");
                builder
                    .setBolt("count", new Count(), tasks)
                    .fieldsGrouping("words", new Fields("word"));
                break;
            }
            case "capture": {
                int tasks = Integer.parseInt(words[3]);
                builder.setSpout("in", new Lines(words[1]));
                builder.setBolt("lake", new Lake(words[2], Integer.parseInt(words[4])), tasks)
                    .localOrShuffleGrouping("in");
                // A file is closed when it is full, and its posts are acked then.
                config.setMaxSpoutPending(2 * tasks * Integer.parseInt(words[4]));
                break;
            }
            case "echo": {
                config.put(Config.TOPOLOGY_SHELLBOLT_MAX_PENDING, Integer.parseInt(words[2]));
                builder.setSpout("in", new Numbers(Long.parseLong(words[1])));
                String[] command = Arrays.copyOfRange(words, 3, words.length);
                builder
                    .setBolt("echo", new FluxShellBolt(command, new String[] {"id"}))
                    .shuffleGrouping("in");
                builder.setBolt("out", new Null()).shuffleGrouping("echo");
                break;
            }
            default:
                throw new IllegalArgumentException(
                    "expected wordcount, capture or echo, found " + words[0]);
        }
        LocalCluster cluster = new LocalCluster();
        cluster.submitTopology("peer", config, builder.createTopology());
        DONE.await();
        if (words[0].equals("wordcount")) {
            String counts = JSONObject.toJSONString(COUNTS);
            Files.write(Path.of(words[2], "counts.json"), counts.getBytes(StandardCharsets.UTF_8));
        }
        System.out.printf("%n{\"seconds\": %.6f}%n", (ENDED.get() - BEGUN.get()) / 1e9);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** A spout that ends the program when all that it emitted is acked. */
    private abstract static class Counted extends BaseRichSpout {
        private transient SpoutOutputCollector out;
        private long emitted;
        private long acked;
        private boolean hasEnded;

        abstract Object next() throws Exception;

        /** How many acks are before the measured time. */
        long warmUp() {
            return 0;
        }

        @Override
        public void open(
            Map<String, Object> conf, TopologyContext context, SpoutOutputCollector out) {
            this.out = out;
        }

        @Override
        public void nextTuple() {
            if (hasEnded) {
                return;
            }
            if (emitted == 0 && warmUp() == 0) {
                BEGUN.set(System.nanoTime());
            }
            try {
                Object value = next();
                if (value == null) {
                    hasEnded = true;
                    LAST.countDown();
                    endIfAllAreAcked();
                    return;
                }
                out.emit(new Values(value), emitted++);
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public void ack(Object id) {
            acked++;
            if (acked == warmUp()) {
                BEGUN.set(System.nanoTime());
            }
            endIfAllAreAcked();
        }

        @Override
        public void fail(Object id) {
            throw new IllegalStateException("tuple " + id + " failed");
        }

        private void endIfAllAreAcked() {
            if (hasEnded && acked == emitted) {
                ENDED.set(System.nanoTime());
                DONE.countDown();
            }
        }
    }

    /** Counted down when the spout has read everything: bolts close what isn't full then. */
    private static final CountDownLatch LAST = new CountDownLatch(1);

    /** Reads a file's lines. */
    public static final class Lines extends Counted {
        private final String path;
        private transient BufferedReader reader;

        Lines(String path) {
            this.path = path;
        }

        @Override
        Object next() throws Exception {
            if (reader == null) {
                reader = Files.newBufferedReader(Path.of(path));
            }
            return reader.readLine();
        }

        @Override
        public void declareOutputFields(OutputFieldsDeclarer declarer) {
            declarer.declare(new Fields("post"));
        }
    }

    /** Emits whole numbers. */
    public static final class Numbers extends Counted {
        private final long count;
        private long at;

        Numbers(long count) {
            this.count = count;
        }

        @Override
        long warmUp() {
            return count / 4;
        }

        @Override
        Object next() {
            return at < count ? at++ : null;
        }

        @Override
        public void declareOutputFields(OutputFieldsDeclarer declarer) {
            declarer.declare(new Fields("id"));
        }
    }

    /** A bolt with a collector and, unless it says otherwise, without output. */
    private abstract static class Step extends BaseRichBolt {
        transient OutputCollector out;

        @Override
        public void prepare(
            Map<String, Object> conf, TopologyContext context, OutputCollector out) {
            this.out = out;
        }

        @Override
        public void declareOutputFields(OutputFieldsDeclarer declarer) {}
    }

    static JSONObject parse(String line) {
        try {
            return (JSONObject) new JSONParser(JSONParser.MODE_RFC4627).parse(line);
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    /** Splits the text of a post into words. */
    public static final class Words extends Step {
        @Override
        public void execute(Tuple tuple) {
            JSONObject tweet = (JSONObject) parse(tuple.getString(0)).get("tweet");
            for (String word : ((String) tweet.get("text")).split("\\s+")) {
                out.emit(tuple, new Values(word));
            }
            out.ack(tuple);
        }

        @Override
        public void declareOutputFields(OutputFieldsDeclarer declarer) {
            declarer.declare(new Fields("word"));
        }
    }

    /** Counts words. */
    public static final class Count extends Step {
        private final Map<String, Long> counts = new HashMap<>();

        @Override
        public void execute(Tuple tuple) {
            String word = tuple.getString(0);
            long count = counts.merge(word, 1L, Long::sum);
            COUNTS.put(word, count);
            out.ack(tuple);
        }
    }

    /** Takes everything. */
    public static final class Null extends Step {
        @Override
        public void execute(Tuple tuple) {
            out.ack(tuple);
        }
    }

    /** Writes files of JSON arrays, each synced before its posts are acked. */
    public static final class Lake extends Step {
        private final String root;
        private final int postsInFile;
        private final List<Tuple> open = new ArrayList<>();
        private int task;
        private int files;

        Lake(String root, int postsInFile) {
            this.root = root;
            this.postsInFile = postsInFile;
        }

        @Override
        public void prepare(
            Map<String, Object> conf, TopologyContext context, OutputCollector out) {
            super.prepare(conf, context, out);
            task = context.getThisTaskIndex();
        }

        @Override
        public Map<String, Object> getComponentConfiguration() {
            // What isn't full at the end is closed on a tick.
            return Map.of(Config.TOPOLOGY_TICK_TUPLE_FREQ_SECS, 1);
        }

        @Override
        public void execute(Tuple tuple) {
            boolean isTick = tuple.getSourceStreamId().equals("__tick");
            if (!isTick) {
                parse(tuple.getString(0));
                open.add(tuple);
            }
            boolean isLast = isTick && LAST.getCount() == 0;
            try {
                if (open.size() == postsInFile || (isLast && !open.isEmpty())) {
                    write();
                }
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }

        private void write() throws Exception {
            Path part = Path.of(root, ".part-" + task);
            try (FileOutputStream file = new FileOutputStream(part.toFile())) {
                BufferedWriter text =
                    new BufferedWriter(
                        new java.io.OutputStreamWriter(file, StandardCharsets.UTF_8));
                String before = "[";
                for (Tuple tuple : open) {
                    text.write(before);
                    text.write(tuple.getString(0));
                    before = ",\n";
                }
                text.write("]\n");
                text.flush();
                file.getFD().sync();
            }
            Path target = Path.of(root, task + "-" + files++ + ".json");
            Files.move(part, target, StandardCopyOption.ATOMIC_MOVE);
            open.forEach(out::ack);
            open.clear();
        }
    }
}
