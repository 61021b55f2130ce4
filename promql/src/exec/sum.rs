//! Compensated sums: what `sum`, `avg`, `stddev` and their `_over_time` relatives add up with, value by
//! value in Prometheus' order of operations, and merged between shards in a fixed order.

/// Neumaier's sum: the error of each addition is kept beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Neumaier {
    pub sum: f64,
    pub compensation: f64,
}

impl Neumaier {
    #[inline]
    pub fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.compensation += (self.sum - total) + value;
        } else {
            self.compensation += (value - total) + self.sum;
        }
        self.sum = total;
    }

    /// Adds another sum with its own compensation.
    pub fn merge(&mut self, other: Neumaier) {
        self.add(other.sum);
        if !self.sum.is_infinite() {
            self.compensation += other.compensation;
        }
    }

    #[inline]
    pub fn total(&self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.compensation }
    }
}

/// A mean: a compensated sum divided at the end, or, once the sum would overflow, a running mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    /// The sum, or the mean once `running`.
    at: Neumaier,
    count: f64,
    running: bool,
}

impl Mean {
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.running {
            let mut sum = self.at;
            if self.count == 1.0 {
                self.at.sum = value;
                return;
            }
            sum.add(value);
            if !sum.sum.is_infinite() {
                self.at = sum;
                return;
            }
            self.run(self.count - 1.0);
        }
        let weight = (self.count - 1.0) / self.count;
        self.weigh(weight);
        self.at.add(value / self.count);
    }

    fn run(&mut self, count: f64) {
        self.running = true;
        self.at.sum /= count;
        self.at.compensation /= count;
    }

    fn weigh(&mut self, weight: f64) {
        self.at.sum *= weight;
        self.at.compensation *= weight;
    }

    pub fn merge(&mut self, mut other: Mean) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = other;
            return;
        }
        let count = self.count + other.count;
        if !self.running && !other.running {
            let mut sum = self.at;
            sum.merge(other.at);
            if !sum.sum.is_infinite() {
                (self.at, self.count) = (sum, count);
                return;
            }
        }
        if !self.running {
            self.run(self.count);
        }
        if !other.running {
            other.run(other.count);
        }
        self.weigh(self.count / count);
        other.weigh(other.count / count);
        self.at.merge(other.at);
        self.count = count;
    }

    pub fn value(&self) -> f64 {
        if self.running {
            self.at.sum + self.at.compensation
        } else {
            self.at.sum / self.count + self.at.compensation / self.count
        }
    }
}

/// Variance over all values by Welford's recurrence, both of its sums compensated.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Variance {
    count: f64,
    mean: Neumaier,
    squares: Neumaier,
}

impl Variance {
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - (self.mean.sum + self.mean.compensation);
        self.mean.add(delta / self.count);
        self.squares.add(delta * (value - (self.mean.sum + self.mean.compensation)));
    }

    /// Chan's rule for two parts.
    pub fn merge(&mut self, other: Variance) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = other;
            return;
        }
        let count = self.count + other.count;
        let delta = other.mean.sum + other.mean.compensation - (self.mean.sum + self.mean.compensation);
        self.squares.merge(other.squares);
        self.squares.add(delta * delta * (self.count * other.count / count));
        self.mean.add(delta * (other.count / count));
        self.count = count;
    }

    pub fn value(&self) -> f64 {
        (self.squares.sum + self.squares.compensation) / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of(values: &[f64]) -> Neumaier {
        let mut sum = Neumaier::default();
        values.iter().for_each(|&v| sum.add(v));
        sum
    }

    fn mean_of(values: &[f64]) -> Mean {
        let mut mean = Mean::default();
        values.iter().for_each(|&v| mean.add(v));
        mean
    }

    #[test]
    fn small_values_survive_beside_large_ones() {
        assert_eq!(sum_of(&[1.0, 1e100, 1.0, -1e100]).total(), 2.0);
        assert_eq!(sum_of(&[f64::INFINITY, 1.0]).total(), f64::INFINITY);
        assert!(sum_of(&[f64::INFINITY, f64::NEG_INFINITY]).total().is_nan());
        let mut left = sum_of(&[1.0, 1e100]);
        left.merge(sum_of(&[1.0, -1e100]));
        assert_eq!(left.total(), 2.0);
    }

    #[test]
    fn a_mean_does_not_overflow() {
        assert_eq!(mean_of(&[1e308, 1e308, 1e308]).value(), 1e308);
        assert_eq!(mean_of(&[f64::INFINITY, 5.0]).value(), f64::INFINITY);
        assert_eq!(mean_of(&[1.0, 2.0, 6.0]).value(), 3.0);
        let mut left = mean_of(&[1e308, 1e308]);
        left.merge(mean_of(&[1e308]));
        assert!((left.value() / 1e308 - 1.0).abs() < 1e-15);
    }

    #[test]
    fn a_merged_variance_is_that_of_all() {
        let values = [1.0, 4.0, 9.0, 16.0, 25.0];
        let (mut all, mut left, mut right) = (Variance::default(), Variance::default(), Variance::default());
        values.iter().for_each(|&v| all.add(v));
        values[..2].iter().for_each(|&v| left.add(v));
        values[2..].iter().for_each(|&v| right.add(v));
        left.merge(right);
        assert!((left.value() - all.value()).abs() < 1e-12);
        assert!((all.value() - 74.8).abs() < 1e-12);
    }
}
