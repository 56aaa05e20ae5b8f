use std::{num::NonZeroU16, sync::Arc, time::{Duration, Instant}};
use async_trait::async_trait;
use waterspout::{bolt::*, clock::*, engine::*, error::Result, registry::*, sink::*, spout::*, topology::*, tuple::*, value::Value};
struct Const(u64, bool);
impl SpoutConfig for Const {
    fn streams(&self) -> Streams { Streams::default_with(Fields::new([if self.1 {"text"} else {"n"}])) }
    fn splits(&self) -> Result<Vec<String>> { Ok((0..4).map(|i| i.to_string()).collect()) }
    fn build(&self) -> Result<Box<dyn Spout>> { Ok(Box::new(Const(self.0, self.1))) }
}
#[async_trait(?Send)]
impl Spout for Const {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let n = out.splits().len();
        let text: Vec<Value> = (0..64).map(|i| Value::from((0..10).map(|j| format!("word{}", (i*7+j*j*13)%500)).collect::<Vec<_>>().join(" "))).collect();
        for s in 0..n { let mut left = self.0 / 4;
            while left > 0 { let k = left.min(256);
                if self.1 { for i in 0..k { out.push([text[(i%64) as usize].clone()]); } } else { for _ in 0..k { out.push([Value::Int(1)]); } }
                left -= k; out.emit(s, Cursor::At(left.to_string())).await?; } }
        Ok(())
    }
}
struct Id; impl BoltConfig for Id { fn streams(&self, i: &[Fields]) -> std::result::Result<Streams, Vec<Problem>> { Ok(Streams::default_with(i[0].clone())) } fn build(&self, _: &[Fields]) -> Result<Box<dyn Bolt>> { Ok(Box::new(Id)) } }
impl Bolt for Id { fn execute(&mut self, t: Tuple<'_>, o: &mut Output) -> Result<()> { o.emit(t.values.iter().cloned()); Ok(()) } }
fn spec(id: &str, role: Role, config: Config, streams: Streams, hint: u16, inputs: Vec<InputSpec>) -> ComponentSpec {
    ComponentSpec { id: id.into(), type_name: "T", role, guarantee: "", config, explained: String::new(), parallelism_hint: NonZeroU16::new(hint).unwrap(), inputs, streams, on_error: OnError::default(), batch: 256, linger: None }
}
fn main() {
    let n: u64 = std::env::args().nth(3).map_or(20_000_000, |x| x.parse().unwrap());
    let hint: u16 = std::env::args().nth(2).map_or(1, |x| x.parse().unwrap());
    let what = std::env::args().nth(1).unwrap();
    let local = |from| InputSpec { from, stream: StreamId::DEFAULT, grouping: Grouping::LocalOrShuffle };
    let r = Registry::standard();
    let null = |from, t: &str| { let _ = t; let Config::Sink(c) = r.find("Null").unwrap().read("Null()").unwrap().config else { panic!() }; spec("null", Role::Sink, Config::Sink(c), Streams::none(), hint, vec![local(from)]) };
    let c = Const(n, what == "wc"); let st = c.streams();
    let mut comps = vec![spec("in", Role::Spout, Config::Spout(Arc::new(c)), st.clone(), hint, vec![])];
    match what.as_str() {
        "null" => comps.push(null(0, "")),
        "three" => { comps.push(spec("id", Role::Bolt, Config::Bolt(Arc::new(Id)), st.clone(), hint, vec![local(0)])); comps.push(null(1, "")); }
        _ => {
            let Config::Bolt(w) = r.find("Words").unwrap().read("Words()").unwrap().config else { panic!() };
            let ws = w.streams(&[st.fields(StreamId::DEFAULT).clone()]).unwrap();
            let Config::Bolt(k) = r.find("Count").unwrap().read("Count(fields: [\"word\"])").unwrap().config else { panic!() };
            let ks = k.streams(&[ws.fields(StreamId::DEFAULT).clone()]).unwrap();
            comps.push(spec("words", Role::Bolt, Config::Bolt(w), ws, hint, vec![local(0)]));
            comps.push(spec("count", Role::Bolt, Config::Bolt(k), ks, hint, vec![InputSpec { from: 1, stream: StreamId::DEFAULT, grouping: Grouping::Fields(vec![0]) }]));
            comps.push(null(2, ""));
        }
    }
    let t = Topology { name: "q".into(), components: comps, checkpoint: Checkpoint::Every(Duration::from_secs(1)), micro_batch: MicroBatch::default(), partition_every: Duration::from_secs(3600), memory: 256 << 20, restarts: Restarts::default() };
    let started = Instant::now();
    let running = start(t, RunOptions { clock: SystemClock::shared(), state: "/tmp/q".into(), drain_deadline: Duration::from_secs(30) }).unwrap();
    let exit = running.wait(Duration::from_secs(600)).unwrap();
    let e = started.elapsed().as_secs_f64();
    let s = running.status();
    let words = s.components.iter().find(|c| c.id == "count").map_or(n, |c| c.received);
    println!("{what} hint {hint}: {:.1} M/s {exit:?} {:?}", words as f64 / e / 1e6, s.components.iter().map(|c| (c.id.clone(), c.busy)).collect::<Vec<_>>());
}
