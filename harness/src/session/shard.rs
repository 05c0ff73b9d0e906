//! `--shard K/N`: one of N parts of a run.

use std::{fmt, str::FromStr};

use super::plan::Plan;

/// The part K of N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let parsed = parts.and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        match parsed {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Self { number, count }),
            Some((_, count)) if count > 0 => Err(format!(
                "the shards of {count} are 1/{count} to {count}/{count}"
            )),
            _ => Err("a shard is K/N, as 2/5".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl Shard {
    /// The shard's part of the plans of all kernels, by kernel and then by scenario: each shard is a stretch of that list, so
    /// that it boots as few kernels as possible, and all shards together are the run. The programs of a kernel run together,
    /// and count as one scenario.
    pub(crate) fn select<T>(self, plans: Vec<(T, Plan)>) -> Vec<(T, Plan)> {
        let total: usize = plans.iter().map(|(_, plan)| units(plan)).sum();
        let (start, end) = (
            total * (self.number - 1) / self.count,
            total * self.number / self.count,
        );
        let mut first = 0;
        let part = plans.into_iter().filter_map(|(kernel, plan)| {
            let (from, to) = (start.max(first), end.min(first + units(&plan)));
            let part = (from < to).then(|| cut(&plan, from - first, to - first));
            first += units(&plan);
            part.map(|part| (kernel, part))
        });
        part.collect()
    }
}

fn units(plan: &Plan) -> usize {
    plan.planned.len() + usize::from(!plan.programs.planned().is_empty())
}

/// The units from `from` to `to`, without the latter.
fn cut(plan: &Plan, from: usize, to: usize) -> Plan {
    let scenarios = plan.planned.len();
    let mut part = plan.clone();
    if to <= scenarios {
        part.programs = Default::default();
    }
    part.planned = plan.planned[from.min(scenarios)..to.min(scenarios)].to_vec();
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{initramfs::bpf_objects::Programs, report::testing::planned};

    fn plan(ids: &[&str], programs: &[&str]) -> Plan {
        Plan {
            planned: ids.iter().map(|id| planned(id, "fexit", (5, 5))).collect(),
            programs: Programs::named(programs),
        }
    }

    /// `KERNEL:UNIT` of each unit of a shard.
    fn part(shard: &str, plans: &[(&str, Plan)]) -> Vec<String> {
        let shard: Shard = shard.parse().unwrap();
        let mut list = Vec::new();
        for (kernel, plan) in shard.select(plans.to_vec()) {
            assert!(units(&plan) > 0, "{kernel} has nothing to do");
            list.extend(plan.planned.iter().map(|s| format!("{kernel}:{}", s.id)));
            if !plan.programs.planned().is_empty() {
                list.push(format!("{kernel}:programs"));
            }
        }
        list
    }

    #[test]
    fn shards_together_are_the_run_in_its_order_and_differ_by_one_at_most() {
        let plans = [
            ("5.10", plan(&["a", "b", "c"], &["p", "q"])),
            ("6.1", plan(&["a", "b", "c"], &["p", "q"])),
            ("7.3", plan(&[], &["p"])),
        ];
        let whole = part("1/1", &plans);
        assert_eq!(whole.len(), 9);
        for count in 1..=12 {
            let parts = (1..=count).map(|k| part(&format!("{k}/{count}"), &plans));
            let parts: Vec<_> = parts.collect();
            assert_eq!(parts.concat(), whole, "{count} shards");
            let sizes = parts.iter().map(Vec::len);
            let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
            assert!(most - least <= 1, "{count} shards: {least} to {most}");
        }
        assert_eq!(part("2/3", &plans), ["5.10:programs", "6.1:a", "6.1:b"]);
    }

    #[test]
    fn invalid_shards_are_refused() {
        for (text, part) in [
            ("0/3", "1/3 to 3/3"),
            ("4/3", "1/3 to 3/3"),
            ("1/0", "K/N"),
            ("2", "K/N"),
            ("a/b", "K/N"),
            ("-1/2", "K/N"),
        ] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!("2/5".parse::<Shard>().unwrap().to_string(), "2/5");
    }
}
