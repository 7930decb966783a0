//! What plugins may use: the engine's defaults, the operator's maxima, and what comes of a manifest's wishes.

use std::time::Duration;

use super::manifest;

/// Bounds of one plugin's calls and instances.
#[derive(Clone, Debug, PartialEq)]
pub struct CallLimits {
    /// Computing time of one call, milliseconds; measured in ticks of [`TICK_MS`].
    pub compute_ms_max: u64,
    /// Time of one call with its host calls, milliseconds.
    pub call_ms_max: u64,
    /// Linear memory of one instance, bytes.
    pub memory_bytes_max: u64,
    /// What one call may emit, bytes.
    pub output_bytes_max: u64,
    /// `state` of one node, bytes.
    pub state_bytes_max: u64,
}

/// What stays of the compiled code on disk.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// All entries, bytes; the one just added stays whatever its size.
    pub bytes_max: u64,
    /// How long an entry stays that nobody uses.
    pub unused_max: Duration,
}

impl Default for Keep {
    /// As `config.default.toml` has it.
    fn default() -> Keep {
        Keep { bytes_max: 1 << 30, unused_max: Duration::from_secs(30 * 86_400) }
    }
}

/// Length of an epoch tick, milliseconds: a call is stopped at most two ticks after its computing time is over.
pub const TICK_MS: u64 = 5;

/// Bounds of all plugins; defaults are those of `config.default.toml`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For plugins whose manifest says nothing.
    pub default: CallLimits,
    /// What a manifest may ask for at most.
    pub max: CallLimits,
    /// Message properties handed to one call, bytes.
    pub input_bytes_max: u64,
    /// Messages one call may emit.
    pub emits_max: u32,
    /// Elements of an instance's tables.
    pub table_elements_max: usize,
    /// Lines of the log one call may write; longer logs are cut and say so.
    pub log_lines_max: u32,
    /// Bytes of one log line or status.
    pub log_bytes_max: usize,
    /// Evidence one call may attach.
    pub evidence_max: u32,
    /// Host calls of one call.
    pub host_calls_max: u32,
    /// Answer of one `http` call, bytes.
    pub response_bytes_max: usize,
    /// One file read, bytes.
    pub file_bytes_max: u64,
    /// Record of one call of a deterministic plugin, bytes; a larger one is cut and says so. 0: nothing is recorded.
    pub record_bytes_max: usize,
    /// Records of one run, bytes; further calls are counted.
    pub run_record_bytes_max: usize,
    /// Instances alive at once, warm ones included.
    pub instances_max: u32,
    /// A warm instance is dropped after this long without a call, milliseconds.
    pub idle_ms_max: u64,
    /// Stops of a node type within [`Limits::stops_ms`] that put it into quarantine.
    pub stops_max: u32,
    /// What stays of compiled code on disk.
    pub cache: Keep,
    /// Milliseconds.
    pub stops_ms: u64,
    /// How long a quarantine lasts before one message is tried, milliseconds.
    pub quarantine_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            default: CallLimits {
                compute_ms_max: 100,
                call_ms_max: 5_000,
                memory_bytes_max: 32 << 20,
                output_bytes_max: 8 << 20,
                state_bytes_max: 1 << 20,
            },
            max: CallLimits {
                compute_ms_max: 10_000,
                call_ms_max: 120_000,
                memory_bytes_max: 256 << 20,
                output_bytes_max: 64 << 20,
                state_bytes_max: 64 << 20,
            },
            input_bytes_max: 32 << 20,
            emits_max: 100_000,
            table_elements_max: 20_000,
            log_lines_max: 100,
            log_bytes_max: 4 << 10,
            evidence_max: 10_000,
            host_calls_max: 1_000_000,
            response_bytes_max: 16 << 20,
            file_bytes_max: 64 << 20,
            record_bytes_max: 256 << 10,
            run_record_bytes_max: 1 << 20,
            instances_max: 256,
            idle_ms_max: 600_000,
            cache: Keep::default(),
            stops_max: 5,
            stops_ms: 60_000,
            quarantine_ms: 30_000,
        }
    }
}

impl Limits {
    /// What a plugin with these wishes gets: the default where it has none, never more than the maximum.
    pub fn of(&self, wishes: &manifest::Limits) -> CallLimits {
        let pick = |wish: Option<u64>, default: u64, max: u64| wish.unwrap_or(default).clamp(1, max);
        let (d, m) = (&self.default, &self.max);
        CallLimits {
            compute_ms_max: pick(wishes.compute_ms_max, d.compute_ms_max, m.compute_ms_max),
            call_ms_max: pick(wishes.call_ms_max, d.call_ms_max, m.call_ms_max),
            memory_bytes_max: pick(wishes.memory_bytes_max, d.memory_bytes_max, m.memory_bytes_max),
            output_bytes_max: pick(wishes.output_bytes_max, d.output_bytes_max, m.output_bytes_max),
            state_bytes_max: pick(wishes.state_bytes_max, d.state_bytes_max, m.state_bytes_max),
        }
    }
}
