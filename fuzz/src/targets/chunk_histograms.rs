//! Any bytes as a sealed run of histograms: read within its bounds, or refused; what was read is written
//! and read again to the same bits.

use hearth_kernels::codec::Effort;
use hearth_kernels::codec::histograms::{self, RUN_VALUES_MAX, Run};

pub fn run(data: &[u8]) {
    let mut run = Run::default();
    let Ok(read) = histograms::decode(data, &mut run) else {
        assert_eq!(run.samples() + run.buckets.len(), 0);
        return;
    };
    assert!(read <= data.len() && run.samples() > 0 && run.buckets.len() <= RUN_VALUES_MAX);
    let (mut bytes, mut again) = (Vec::new(), Run::default());
    histograms::encode(&run, Effort::Small, &mut bytes);
    assert_eq!(histograms::decode(&bytes, &mut again), Ok(bytes.len()));
    assert_eq!((&again.hints, &again.starts), (&run.hints, &run.starts));
    for (again, run) in [(&again.sum, &run.sum), (&again.count, &run.count), (&again.buckets, &run.buckets)] {
        assert!(again.iter().map(|v| v.to_bits()).eq(run.iter().map(|v| v.to_bits())));
    }
}
