//! SIGTERM and SIGINT: the first asks for a clean end, the second ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code after a second signal, as a shell shows a process that SIGINT ended.
const HURRIED_EXIT_CODE: i32 = 130;

pub struct Termination {
    terminate: Signal,
    interrupt: Signal,
}

impl Termination {
    /// From now on the signals are caught.
    pub fn catch() -> Result<Termination, String> {
        let catch = |kind, name| signal(kind).map_err(|error| format!("catching {name}: {error}"));
        let terminate = catch(SignalKind::terminate(), "SIGTERM")?;
        Ok(Termination { terminate, interrupt: catch(SignalKind::interrupt(), "SIGINT")? })
    }

    /// The name of the next signal.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for one more signal and then ends the process.
    pub async fn hurry(mut self) {
        let name = self.next().await;
        tracing::warn!(signal = name, "Received a second signal, exiting at once");
        std::process::exit(HURRIED_EXIT_CODE);
    }
}
