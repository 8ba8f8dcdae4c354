//! All that a comparison has found out: what was read from its file and what has been added since.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::record::{Key, Record};
use crate::report::Row;
use crate::scenario::Scenario;
use crate::server::SERVERS;

/// The records, and the file that each is written to at once.
#[derive(Debug, Default)]
pub struct Results {
    records: Vec<Record>,
    file: Option<PathBuf>,
}

impl Results {
    /// Begins a new file, in a folder that is made if need be.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> io::Result<Results> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, "")?;
        Ok(Results { records: Vec::new(), file: Some(path.to_path_buf()) })
    }

    /// Reads what a comparison has written before, to go on from there. What belongs to a scenario that was not finished
    /// is dropped: ratios are taken within a round, and its rounds are over.
    ///
    /// # Errors
    /// When it cannot be read, or a line in it is no record.
    pub fn resume(path: &Path) -> io::Result<Results> {
        let mut records = Vec::new();
        let text = fs::read_to_string(path)?;
        // A line without an end was being written when the comparison was killed.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for (number, line) in whole.lines().enumerate() {
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            records.push(line.parse().map_err(|error| invalid(format!("line {}: {error}", number + 1)))?);
        }
        let mut results = Results { records, file: Some(path.to_path_buf()) };
        let kept = results.records.clone().into_iter();
        let kept = kept.filter(|record| scenario_of(record).is_none_or(|scenario| results.is_done(scenario)));
        results.records = kept.collect();
        let text: String = results.records.iter().map(|record| format!("{record}\n")).collect();
        fs::write(path, text)?;
        Ok(results)
    }

    /// Adds a record, in memory and in the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, record: Record) -> io::Result<()> {
        if let Some(path) = &self.file {
            writeln!(OpenOptions::new().append(true).open(path)?, "{record}")?;
        }
        self.records.push(record);
        Ok(())
    }

    /// Whether that scenario has all its slices.
    pub fn is_done(&self, scenario: &str) -> bool {
        self.records.iter().any(|record| matches!(record, Record::Done(name) if name == scenario))
    }

    /// What is known of the machine and the versions, in the order in which it was found out.
    pub fn about(&self) -> impl Iterator<Item = (&str, &str)> {
        self.records.iter().filter_map(|record| match record {
            Record::About(what, value) => Some((what.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// Who took no part, and why.
    pub fn left_out(&self) -> impl Iterator<Item = (&str, &str)> {
        self.records.iter().filter_map(|record| match record {
            Record::LeftOut(server, why) => Some((server.as_str(), why.as_str())),
            _ => None,
        })
    }

    /// The rows of a scenario, in the order of [`SERVERS`].
    pub fn rows(&self, scenario: &Scenario) -> Vec<Row> {
        let takes = SERVERS.iter().filter(|server| server.takes(scenario));
        let mut rows: Vec<Row> = takes.filter_map(|server| self.row(scenario.name, server.name)).collect();
        let rounds = rows.iter().map(|row| row.samples.len()).max().unwrap_or(0);
        rows.iter_mut().for_each(|row| row.samples.resize(rounds, None));
        rows
    }

    /// One server in one scenario. None when it has no slice there.
    pub fn row(&self, scenario: &str, server: &'static str) -> Option<Row> {
        let key = Key::new(scenario, server);
        let mut row = Row::new(server);
        for record in self.records.iter().filter(|record| key_of(record) == Some(&key)) {
            match record {
                Record::Slice(_, round, sample) => row.set(*round, *sample),
                Record::Instructions(_, count) => row.instructions = Some(*count),
                Record::Syscalls(_, count) => row.syscalls = Some(*count),
                Record::Head(_, bytes, fields) => row.head = Some((*bytes, fields.clone())),
                _ => {}
            }
        }
        (!row.samples.is_empty()).then_some(row)
    }
}

fn key_of(record: &Record) -> Option<&Key> {
    match record {
        Record::Slice(key, ..)
        | Record::Instructions(key, _)
        | Record::Syscalls(key, _)
        | Record::Head(key, ..) => Some(key),
        Record::About(..) | Record::LeftOut(..) | Record::Done(_) => None,
    }
}

fn scenario_of(record: &Record) -> Option<&str> {
    match record {
        Record::Done(scenario) => Some(scenario),
        _ => key_of(record).map(|key| key.scenario.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn slice(scenario: &str, round: usize) -> Record {
        Record::Slice(Key::new(scenario, "hyper"), round, sample(20))
    }

    #[test]
    fn a_comparison_that_was_interrupted_goes_on_after_its_last_whole_scenario() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/results.tsv");
        let mut results = Results::create(&path).unwrap();
        for record in [
            Record::About("kernel".to_string(), "6".to_string()),
            slice("plaintext-1", 0),
            Record::Done("plaintext-1".to_string()),
            slice("plaintext-64", 0),
        ] {
            results.add(record).unwrap();
        }
        write!(OpenOptions::new().append(true).open(&path).unwrap(), "slice\tplain").unwrap();

        let mut results = Results::resume(&path).unwrap();
        assert!(results.is_done("plaintext-1") && !results.is_done("plaintext-64"));
        assert!(results.row("plaintext-64", "hyper").is_none());
        results.add(slice("plaintext-64", 1)).unwrap();
        results.add(Record::Done("plaintext-64".to_string())).unwrap();

        let results = Results::resume(&path).unwrap();
        assert_eq!(results.about().collect::<Vec<_>>(), [("kernel", "6")]);
        assert_eq!(results.row("plaintext-1", "hyper").unwrap().samples, [Some(sample(20))]);
        assert_eq!(results.row("plaintext-64", "hyper").unwrap().samples, [None, Some(sample(20))]);
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.tsv");
        fs::write(&path, "done\tplaintext-1\nhello\n").unwrap();
        let error = Results::resume(&path).unwrap_err();
        assert_eq!(error.to_string(), "line 2: no record");
        assert_eq!(fs::read_to_string(&path).unwrap(), "done\tplaintext-1\nhello\n");
    }
}
