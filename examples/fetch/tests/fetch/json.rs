//! Just enough JSON to read a report: objects, strings without escapes, and numbers.

use std::collections::BTreeMap;

#[derive(Debug, PartialEq)]
pub enum Json {
    Number(f64),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// The whole text has to be one value.
    pub fn parse(text: &str) -> Option<Json> {
        let mut rest = text;
        let value = value(&mut rest)?;
        rest.is_empty().then_some(value)
    }

    /// The number under these keys.
    #[track_caller]
    pub fn number(&self, path: &str) -> f64 {
        let found = path.split('.').try_fold(self, |at, key| match at {
            Json::Object(members) => members.get(key),
            Json::Number(_) => None,
        });
        match found {
            Some(Json::Number(number)) => *number,
            other => panic!("{path} is {other:?} in {self:?}"),
        }
    }

    /// The sum of the numbers in the object under this key.
    #[track_caller]
    pub fn sum(&self, key: &str) -> f64 {
        let Json::Object(members) = self else { panic!("{self:?}") };
        let Json::Object(numbers) = &members[key] else { panic!("{key} in {self:?}") };
        numbers.keys().map(|name| members[key].number(name)).sum()
    }
}

fn value(rest: &mut &str) -> Option<Json> {
    if eat(rest, '{').is_none() {
        let end = rest.find([',', '}']).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        *rest = after;
        return number.parse().ok().map(Json::Number);
    }
    let mut members = BTreeMap::new();
    loop {
        eat(rest, '"')?;
        let (key, after) = rest.split_once('"').filter(|(key, _)| !key.contains('\\'))?;
        *rest = after;
        eat(rest, ':')?;
        if members.insert(key.to_owned(), value(rest)?).is_some() {
            return None; // twice
        }
        if eat(rest, '}').is_some() {
            return Some(Json::Object(members));
        }
        eat(rest, ',')?;
    }
}

fn eat(rest: &mut &str, what: char) -> Option<()> {
    *rest = rest.strip_prefix(what)?;
    Some(())
}
