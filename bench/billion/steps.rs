//! The steps: each opens the database, does one thing and prints what it took.

use std::time::{Duration, Instant};

use twinbit::{
    Builder, CodeRows, Collection, Compaction, Database, Explanation, Indexing, Input, Method, Modality,
    Plan, Schema,
};

use crate::codes::{BLOCK, Source};
use crate::process::{Taken, peak, watch};
use crate::{Outcome, Settings};

/// In the order of a whole run. `compact` makes the indexes, too; `index` finds them made.
pub(crate) const NAMES: [&str; 6] = ["ingest", "compact", "index", "verify", "open", "search"];

/// Queries whose answers are compared with the scan's.
const COMPARED: usize = 5;
/// The block of queries.
const QUERIES: u64 = u32::MAX as u64;

pub(crate) fn run(step: &str, settings: &Settings) -> Outcome<()> {
    match step {
        "ingest" => ingest(settings),
        "compact" => compact(settings),
        "index" => index(settings),
        "verify" => verify(settings),
        "open" => open(settings),
        "search" => search(settings),
        other => Err(format!("there is no step \"{other}\"; there are {}", NAMES.join(", ")).into()),
    }
}

fn builder(settings: &Settings) -> Builder {
    // What the thread in the background would do is measured by itself.
    let by_hand = Compaction { background: false, ..Compaction::default() };
    let indexing = Indexing { memory_bytes: settings.memory_bytes, ..Indexing::default() };
    Database::builder().threads(settings.threads).compaction(by_hand).indexing(indexing)
}

fn collection(settings: &Settings) -> Outcome<Collection> {
    Ok(builder(settings).open(&settings.path)?.only_collection()?)
}

fn ingest(settings: &Settings) -> Outcome<()> {
    let database = builder(settings).open(&settings.path)?;
    let collection = database.create_collection("codes", Schema::new(settings.bits).external_codes())?;
    let source = Source::new(settings.bits);
    let mut made = Duration::ZERO;
    let (_, taken) = watch(|| {
        let mut writer = collection.writer()?;
        let (mut done, mut block) = (0, 0);
        while done < settings.rows {
            let rows = (settings.rows - done).min(BLOCK as u64);
            let begin = Instant::now();
            let codes = source.block(block, rows as usize)?;
            made += begin.elapsed();
            writer.extend_codes(CodeRows::new().images(codes.as_codes()))?;
            (done, block) = (done + rows, block + 1);
        }
        writer.commit()?;
        Ok(())
    })?;
    let writing = taken.time.saturating_sub(made);
    let rate = settings.rows as f64 / writing.as_secs_f64() / 1e6;
    let seconds = made.as_secs_f64();
    tell(
        "ingest",
        taken,
        &format!("{rate:.1} M rows/s apart from {seconds:.1} s of making the codes; {}", sizes(&collection)?),
    )
}

fn compact(settings: &Settings) -> Outcome<()> {
    let collection = collection(settings)?;
    let (compacted, taken) = watch(|| Ok(collection.compact()?))?;
    let what = format!(
        "{} segments to {}, {} indexes made; {}",
        compacted.segments_before,
        compacted.segments_after,
        compacted.indexes_built,
        sizes(&collection)?
    );
    tell("merge and index", taken, &what)
}

fn index(settings: &Settings) -> Outcome<()> {
    let collection = collection(settings)?;
    let (indexed, taken) = watch(|| Ok(collection.build_indexes()?))?;
    tell("index what has none", taken, &format!("{} segments; {}", indexed.segments, sizes(&collection)?))
}

fn verify(settings: &Settings) -> Outcome<()> {
    let collection = collection(settings)?;
    let (report, taken) = watch(|| Ok(collection.database().verify()?))?;
    if let Some(problem) = report.problems.first() {
        return Err(format!("{}: {}", problem.path.display(), problem.what).into());
    }
    tell(
        "verify",
        taken,
        &format!("{} MB in {} files, indexes against codes", report.bytes / 1_000_000, report.files),
    )
}

/// The time to open in a process that is new, and to the first answer.
fn open(settings: &Settings) -> Outcome<()> {
    let queries = queries(settings)?;
    let begin = Instant::now();
    let collection = collection(settings)?;
    let rows = collection.snapshot()?.len();
    let opened = begin.elapsed();
    let begin = Instant::now();
    ask(&collection, &queries[0], settings, None)?;
    let answered = begin.elapsed();
    if rows != settings.rows {
        return Err(format!("{rows} rows where {} belong", settings.rows).into());
    }
    let taken = Taken { time: opened, private: 0 };
    tell("open", taken, &format!("{:.1} ms, {:.1} ms more for the first answer", ms(opened), ms(answered)))
}

fn search(settings: &Settings) -> Outcome<()> {
    let collection = collection(settings)?;
    let queries = queries(settings)?;
    for query in queries.iter().take(COMPARED) {
        let scanned = ask(&collection, query, settings, Some(Method::Scan))?;
        if ask(&collection, query, settings, None)?.hits != scanned.hits {
            return Err("the scan finds other rows".into());
        }
    }
    let (scans, _) =
        time(&collection, &queries[..COMPARED.min(queries.len())], settings, Some(Method::Scan))?;
    let begin = Instant::now();
    let (mut times, mut plans) = time(&collection, &queries, settings, None)?;
    let taken = Taken { time: begin.elapsed(), private: 0 };
    times.sort_unstable();
    plans.sort_unstable_by_key(Plan::total_time);
    let at = |share: usize| ms(times[times.len() * share / 100]);
    let by_index: usize =
        plans.iter().map(|plan| plan.parts().iter().map(|part| part.queries_by_index()).sum::<usize>()).sum();
    let parts: usize = plans.iter().map(Plan::scans).sum();
    let compared: u64 =
        plans.iter().map(|plan| plan.parts().iter().map(|part| part.rows_compared()).sum::<u64>()).sum();
    let what = format!(
        "top {} of {} queries one by one: median {:.2} ms, 95 % below {:.2} ms, at most {:.2} ms; a scan {:.1} ms; \
         {by_index} of {parts} parts by index, {} rows compared a query",
        settings.k,
        times.len(),
        at(50),
        at(95),
        ms(times[times.len() - 1]),
        ms(scans.iter().sum::<Duration>() / scans.len() as u32),
        compared / plans.len() as u64
    );
    tell("search", taken, &what)?;
    print(&format!("the median query:\n{}", plans[plans.len() / 2]))
}

/// Asks one query after the other.
fn time(
    collection: &Collection,
    queries: &[Input],
    settings: &Settings,
    method: Option<Method>,
) -> Outcome<(Vec<Duration>, Vec<Plan>)> {
    let (mut times, mut plans) = (Vec::new(), Vec::new());
    for query in queries {
        let begin = Instant::now();
        let explanation = ask(collection, query, settings, method)?;
        times.push(begin.elapsed());
        plans.push(explanation.plan);
    }
    Ok((times, plans))
}

fn ask(
    collection: &Collection,
    query: &Input,
    settings: &Settings,
    method: Option<Method>,
) -> Outcome<Explanation> {
    let query = collection.snapshot()?.query(Modality::Text, query.clone()).limit(settings.k);
    Ok(match method {
        Some(method) => query.method(method),
        None => query,
    }
    .explain()?)
}

fn queries(settings: &Settings) -> Outcome<Vec<Input>> {
    let codes = Source::new(settings.bits).block(QUERIES, settings.queries.max(1))?;
    let codes = codes.as_codes();
    Ok((0..codes.rows()).map(|row| Input::code(codes.row(row))).collect())
}

fn sizes(collection: &Collection) -> Outcome<String> {
    let stats = collection.stats()?;
    let megabytes = |bytes: u64| bytes / 1_000_000;
    Ok(format!(
        "{} rows in {} segments, codes {} MB, indexes {} MB",
        stats.rows,
        stats.segments,
        megabytes(stats.bytes.codes),
        megabytes(stats.bytes.search_index)
    ))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn tell(step: &str, taken: Taken, what: &str) -> Outcome<()> {
    let private = match taken.private {
        0 => String::new(),
        bytes => format!(", private memory at most {} MiB", bytes >> 20),
    };
    let seconds = taken.time.as_secs_f64();
    print(&format!("{step}: {seconds:.2} s{private}, VmHWM {} MiB; {what}", peak() >> 20))
}

#[expect(clippy::print_stdout, clippy::unnecessary_wraps, reason = "a program prints its results")]
fn print(line: &str) -> Outcome<()> {
    println!("{line}");
    Ok(())
}
