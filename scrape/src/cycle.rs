//! One target's scrape, from top to bottom:
//!
//! 1. fetch the body ([`crate::fetch`]);
//! 2. parse it line by line into the batch: a series seen before costs a lookup, a new one is relabelled,
//!    checked and cached ([`crate::cache`]); a page that is as the last one was costs a comparison ([`crate::trail`]);
//! 3. end the series that vanished with stale markers; a scrape that failed anywhere ends all of them and
//!    leaves nothing of its own behind;
//! 4. add what the scrape says about itself ([`crate::report`]);
//! 5. append the whole in one write, and count what the store refused.

use crate::absorb::{Absorber, Tally, protocol_of};
use crate::cache::Cache;
use crate::config::{CACHE_SLACK_ENTRIES, MAX_AHEAD_MS, MAX_ERROR_CHARS};
use crate::context::Context;
use crate::fetch::{Asked, FetchError, Fetched};
use crate::job::{Job, Origin};
use crate::pool::{LoopPlan, TargetEntry};
use crate::push::Group;
use crate::report::{Figures, Report};
use crate::status::Health;
use crate::trail::{Detour, Followed, Moment, Rules, Trail, Way};
use ahash::RandomState;
use hearth_model::{Refusal, Refused, Sample, WriteBatch, WriteOutcome, stale_nan};
use hearth_wire::exposition::{Format, Protocol};
use std::future::Future;
use std::sync::Arc;
use tokio::time::Instant;

/// A target's scrapes: what one leaves for the next.
pub struct Cycle {
    context: Arc<Context>,
    entry: Arc<TargetEntry>,
    plan: LoopPlan,
    cache: Cache,
    trail: Trail,
    /// See [`Absorber::zeros`].
    zeros: Vec<u32>,
    report: Report,
    asked: Asked,
}

/// What there is to read.
enum Page {
    Fetched(Fetched),
    Pushed(Vec<Arc<Group>>),
}

/// What steps 1 and 2 came to.
struct Attempt {
    tally: Tally,
    body_bytes: i64,
    error: Option<String>,
    /// There was nothing to read: what is known of the target's series is kept, as after a failure.
    empty: bool,
    course: Course,
    /// What was fetched.
    body: Option<Fetched>,
}

/// How a page compares to the one before.
enum Course {
    /// Only values differ, and they are in the batch's column.
    Followed,
    /// So are most values, and the rest is in the cache.
    Around(Detour),
    /// It is about the same.
    Calm(Protocol),
    Other,
}

impl Attempt {
    fn failed(error: String, body_bytes: i64) -> Attempt {
        let (tally, course) = (Tally::default(), Course::Other);
        Attempt { tally, body_bytes, error: Some(error), empty: true, course, body: None }
    }

    fn of(tally: Tally, page: Page, course: Course) -> Attempt {
        let body = match page {
            Page::Fetched(fetched) => Some(fetched),
            Page::Pushed(_) => None,
        };
        let (body_bytes, empty) =
            body.as_ref().map_or((0, false), |f| (f.body().len() as i64, f.body().is_empty()));
        Attempt { tally, body_bytes, error: None, empty, course, body }
    }
}

impl Cycle {
    pub fn new(context: Arc<Context>, entry: Arc<TargetEntry>, plan: LoopPlan) -> Cycle {
        let (report, asked) = (report_of(&plan), Asked::new(&plan.target));
        Cycle {
            context,
            entry,
            plan,
            cache: Cache::new(RandomState::new()),
            trail: Trail::default(),
            zeros: Vec::new(),
            report,
            asked,
        }
    }

    pub fn plan(&self) -> &LoopPlan {
        &self.plan
    }

    /// Goes on under another plan; series of the last scrape still end properly under the new rules.
    pub fn adopt(&mut self, plan: LoopPlan) {
        self.trail.leave(&mut self.cache);
        if !plan.job.shapes_as(&self.plan.job) {
            self.cache.forget_entries();
        }
        self.report = report_of(&plan);
        self.asked = Asked::new(&plan.target);
        self.plan = plan;
    }

    /// One scrape with the timestamp `at_ms`; nothing is written when `quit` resolves while the target is
    /// awaited.
    pub async fn scrape(&mut self, at_ms: i64, quit: impl Future<Output = ()>) {
        let start = Instant::now();
        let mut batch = self.context.buffers.take_batch();
        let job = Arc::clone(&self.plan.job);
        let mut attempt = tokio::select! {
            biased;
            attempt = self.attempt(&job, at_ms, &mut batch) => attempt,
            () = quit => return,
        };
        let measured = batch.series.len() as u32;
        self.end_vanished(&mut batch, at_ms, &mut attempt);
        if let Some(fetched) = attempt.body.take() {
            self.context.buffers.give_body(fetched.bytes);
        }
        let duration_seconds = start.elapsed().as_secs_f64();
        let figures = Figures {
            up: attempt.error.is_none(),
            duration_seconds,
            scraped: attempt.tally.scraped,
            kept: attempt.tally.kept,
            added: attempt.tally.added,
            body_bytes: attempt.body_bytes,
        };
        self.report.push(&mut batch, at_ms, &figures);
        self.count(&attempt.tally);
        if attempt.error.is_none() {
            batch.metadata = self.entry.metadata().take_untold();
        }
        let zeros = std::mem::take(&mut self.zeros);
        let stored = self.append(batch, measured, &zeros).await;
        self.zeros = zeros;
        self.conclude(at_ms, duration_seconds, attempt.error, stored.err());
    }

    /// Steps 1 and 2.
    async fn attempt(&mut self, job: &Job, at_ms: i64, batch: &mut WriteBatch) -> Attempt {
        if let Some(forced) = &self.plan.forced_error {
            return Attempt::failed(forced.to_string(), 0);
        }
        let page = match &job.origin {
            Origin::Pushed(gateway) => Page::Pushed(gateway.groups()),
            Origin::Network(fetcher) => {
                let buffer = self.context.buffers.take_body();
                match fetcher.fetch(&mut self.asked, buffer).await {
                    Ok(fetched) => Page::Fetched(fetched),
                    Err(FetchError::BodyLimit) => {
                        self.context.counters.body_limit.add(1);
                        return Attempt::failed(FetchError::BodyLimit.to_string(), -1);
                    }
                    Err(error) => return Attempt::failed(error.to_string(), 0),
                }
            }
        };
        let protocol = match &page {
            Page::Fetched(fetched) => self.protocol_to_follow(job, &fetched.content_type),
            Page::Pushed(_) => None,
        };
        if let (Page::Fetched(fetched), Some(protocol)) = (&page, protocol)
            && let Some((tally, course)) = self.follow(job, protocol, fetched.body(), at_ms, batch)
        {
            return Attempt::of(tally, page, course);
        }
        self.trail.leave(&mut self.cache);
        let (tally, error) = self.absorb(job, &page, at_ms, batch).await;
        let Tally { scraped, kept, added, .. } = tally;
        let calm = error.is_none()
            && tally == Tally { scraped, kept, added, ..Tally::default() }
            && self.cache.is_near();
        let course = protocol.filter(|_| calm).map_or(Course::Other, Course::Calm);
        Attempt { error, ..Attempt::of(tally, page, course) }
    }

    /// Step 2 for a page that follows the trail; `None` where it does not.
    fn follow(
        &mut self,
        job: &Job,
        protocol: Protocol,
        body: &[u8],
        at_ms: i64,
        batch: &mut WriteBatch,
    ) -> Option<(Tally, Course)> {
        let now_ms = (self.context.clock)();
        let moment = Moment { at_ms, latest_ms: now_ms.saturating_add(MAX_AHEAD_MS) };
        let way = self.trail.follow(&mut self.cache, protocol, body, moment, &mut batch.column);
        batch.column.timestamp_ms = at_ms;
        let tally_of = |Followed { scraped, kept, added }| Tally { scraped, kept, added, ..Tally::default() };
        let mut detour = match way {
            Way::Lost => return None,
            Way::Whole(followed) => return Some((tally_of(followed), Course::Followed)),
            Way::Around(detour) => detour,
        };
        let target = Arc::clone(&self.plan.target);
        self.zeros.clear();
        let mut absorber = Absorber {
            offered: detour.followed.kept,
            tally: tally_of(detour.followed),
            ..Absorber::new(job, &target, &mut self.cache, &self.entry.metadata, batch, &mut self.zeros)
        };
        absorber.features = self.context.features;
        (absorber.at_ms, absorber.now_ms) = (at_ms, now_ms);
        let trail = &mut self.trail;
        let beside = std::mem::take(&mut detour.beside);
        let read = absorber.strays(body, &detour.strays, &mut |key| trail.knows(key)).and_then(|new| {
            let (place, key) = (|number| trail.place(number), |number| trail.histogram_key(number));
            absorber.beside(body, &detour.exemplars, beside, place, key).map_err(|_| new)
        });
        let tally = absorber.tally;
        if let Err(new) = read {
            batch.clear();
            self.trail.lose(&mut self.cache, &new);
            return None;
        }
        Some((tally, Course::Around(detour)))
    }

    /// The format of a page that may follow a trail: one each of whose samples is one of its own.
    fn protocol_to_follow(&self, job: &Job, content_type: &str) -> Option<Protocol> {
        let protocol = protocol_of(job, content_type).ok()?;
        let gathers = self.plan.target.histograms.converts(&job.config)
            || (self.context.features.created_zeros && protocol != Protocol::Lines(Format::Text));
        (!gathers).then_some(protocol)
    }

    /// Step 2 in full. After an error the batch is empty.
    async fn absorb(
        &mut self,
        job: &Job,
        page: &Page,
        at_ms: i64,
        batch: &mut WriteBatch,
    ) -> (Tally, Option<String>) {
        let target = Arc::clone(&self.plan.target);
        self.zeros.clear();
        let mut absorber =
            Absorber::new(job, &target, &mut self.cache, &self.entry.metadata, batch, &mut self.zeros);
        absorber.features = self.context.features;
        (absorber.at_ms, absorber.now_ms) = (at_ms, (self.context.clock)());
        let error = match page {
            Page::Fetched(fetched) => absorber.absorb(fetched.body(), &fetched.content_type).await.err(),
            Page::Pushed(groups) => absorber.absorb_pushed(groups).await.err(),
        };
        let tally = absorber.tally;
        if error.is_some() {
            batch.clear();
        }
        (tally, error)
    }

    /// Step 3.
    fn end_vanished(&mut self, batch: &mut WriteBatch, at_ms: i64, attempt: &mut Attempt) {
        let course = std::mem::replace(&mut attempt.course, Course::Other);
        match course {
            Course::Followed => {}
            Course::Around(detour) => self.end_along(batch, at_ms, detour),
            Course::Calm(_) | Course::Other => self.end_others(batch, at_ms, attempt, course),
        }
    }

    /// Step 3 for a page that follows the trail for the most part.
    fn end_along(&mut self, batch: &mut WriteBatch, at_ms: i64, detour: Detour) {
        let marker = [Sample { timestamp_ms: at_ms, value: stale_nan() }];
        for key in self.trail.vanished(&detour).chain(self.cache.vanished()) {
            batch.push_keyed(key, &marker);
        }
        if self.cache.finish(true, CACHE_SLACK_ENTRIES) {
            self.context.counters.cache_flushes.add(1);
        }
        self.trail.accept(detour);
    }

    fn end_others(&mut self, batch: &mut WriteBatch, at_ms: i64, attempt: &Attempt, course: Course) {
        self.trail.leave(&mut self.cache);
        let (failed, empty) = (attempt.error.is_some(), attempt.empty);
        if failed {
            self.cache.fail();
            self.entry.metadata().fail();
        }
        let marker = [Sample { timestamp_ms: at_ms, value: stale_nan() }];
        for key in self.cache.vanished() {
            batch.push_keyed(key, &marker);
        }
        if self.cache.finish(!failed && !empty, CACHE_SLACK_ENTRIES) {
            self.context.counters.cache_flushes.add(1);
        }
        let settled = !failed && !empty && self.entry.metadata().finish() && self.cache.is_plain();
        match (course, &attempt.body) {
            (Course::Calm(protocol), Some(fetched)) if settled => {
                let config = &self.plan.job.config;
                let rules = Rules {
                    honors_times: config.honor_timestamps,
                    tracks_times: config.track_timestamps_staleness,
                    histograms: self.plan.target.histograms.forms(config),
                };
                self.trail.settle(&mut self.cache, protocol, rules, fetched.body());
            }
            _ => self.trail.stray(),
        }
    }

    fn count(&self, tally: &Tally) {
        let counters = &self.context.counters;
        counters.duplicate.add(tally.duplicate);
        counters.out_of_bounds.add(tally.out_of_bounds);
        counters.sample_limit.add(u64::from(tally.over_sample_limit));
        counters.bucket_limit.add(u64::from(tally.over_bucket_limit));
        counters.label_limits.add(u64::from(tally.over_label_limit));
    }

    /// Step 5. The first `measured` series came from the target; refusals of the others (a target that
    /// came back while its old loop ended) are expected. So are those of the first sample of `zeros`: a
    /// series that began long ago has later samples.
    async fn append(&self, batch: WriteBatch, measured: u32, zeros: &[u32]) -> Result<(), String> {
        let keyed = batch.series.len() as u32;
        match self.context.append.append(batch, self.context.ack).await {
            Ok(written) => {
                self.count_refused(&written.outcome, [measured, keyed], zeros);
                if let Some(batch) = written.batch {
                    self.context.buffers.give_batch(batch);
                }
                Ok(())
            }
            Err(error) => {
                self.context.counters.append_failures.add(1);
                self.entry.metadata().tell_again();
                let (job, target) = (&*self.plan.job.name, &*self.plan.target.url);
                tracing::error!(job, target, %error, "a scrape's samples were not stored");
                Err(format!("the samples were not stored: {error}"))
            }
        }
    }

    fn count_refused(&self, outcome: &WriteOutcome, [measured, keyed]: [u32; 2], zeros: &[u32]) {
        let counters = &self.context.counters;
        let (mut out_of_order, mut duplicate, mut out_of_bounds, mut other) = (0, 0, 0, 0);
        counters.exemplar_out_of_order.add(outcome.exemplars_out_of_order);
        let unexpected = |r: &&Refused| {
            // Behind the others are those of a column.
            let of_target = r.series < measured || r.series >= keyed;
            of_target && (r.sample > 0 || zeros.binary_search(&r.series).is_err())
        };
        for refused in outcome.refused.iter().filter(unexpected) {
            *match refused.reason {
                Refusal::OutOfOrder => &mut out_of_order,
                Refusal::DuplicateTimestamp => &mut duplicate,
                Refusal::TooOld | Refusal::OutOfBounds => &mut out_of_bounds,
                _ => &mut other,
            } += 1;
        }
        counters.out_of_order.add(out_of_order);
        counters.duplicate.add(duplicate);
        counters.out_of_bounds.add(out_of_bounds);
        counters.refused_otherwise.add(other);
        if out_of_order + duplicate + out_of_bounds + other > 0 {
            let (job, target) = (&*self.plan.job.name, &*self.plan.target.url);
            tracing::warn!(job, target, out_of_order, duplicate, out_of_bounds, other, "samples refused");
        }
    }

    fn conclude(&self, at_ms: i64, duration_seconds: f64, error: Option<String>, unstored: Option<String>) {
        let job = &self.plan.job;
        let error = error.map(|text| text.chars().take(MAX_ERROR_CHARS).collect::<String>());
        if let Some(error) = &error {
            tracing::debug!(job = &*job.name, target = self.plan.target.url, error, "scrape failed");
            if let Some(log) = &job.failure_log {
                log.write((self.context.clock)(), &job.name, &self.plan.target.url, error);
            }
        }
        let mut state = self.entry.state();
        state.health = if error.is_none() { Health::Up } else { Health::Down };
        state.last_error = error.or(unstored).unwrap_or_default();
        state.last_scrape_ms = Some(at_ms);
        state.last_scrape_duration_seconds = duration_seconds;
    }

    /// Ends every series of a target that is gone.
    pub async fn end(&mut self, at_ms: i64) {
        let mut batch = self.context.buffers.take_batch();
        self.end_vanished(&mut batch, at_ms, &mut Attempt::failed(String::new(), 0));
        self.report.push_stale(&mut batch, at_ms);
        // append has told of a failure already, and there is no next scrape to report it to.
        let _told = self.append(batch, 0, &[]).await;
    }
}

fn report_of(plan: &LoopPlan) -> Report {
    Report::new(&plan.job, &plan.target.labels, plan.target.timeout.seconds())
}

#[cfg(test)]
mod tests;
