//! Where the operator runs.

/// The name of the Pod, which is its host name; outside a Pod that of the machine. `unknown` where there is none.
pub fn name() -> String {
    let named = std::env::var("HOSTNAME").ok().or_else(|| hostname::get().ok()?.into_string().ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_has_a_name_also_outside_a_pod() {
        let name = super::name();
        assert!(!name.is_empty() && name != "unknown", "{name:?}");
    }
}
