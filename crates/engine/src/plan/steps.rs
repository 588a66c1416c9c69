//! A plan as the steps that it takes, one a line, for people and tests.

use super::{Activate, Adjust, End, Plan, Strays};

impl Plan {
    /// The steps in their order. No password and no verifier is in them.
    pub fn steps(&self) -> Vec<String> {
        match self {
            Self::Nothing => vec!["nothing to do".to_owned()],
            Self::Activate(plan) => plan.steps(),
            Self::Adjust(plan) => plan.steps(),
            Self::End(plan) => plan.steps(),
        }
    }
}

impl Activate {
    fn steps(&self) -> Vec<String> {
        let mut steps = create_roles(&self.create_roles);
        if let Some(uid) = &self.take_over_from {
            steps.push(format!("take the record over from the DatabaseAdmin of uid {uid}"));
        }
        if self.close_first {
            steps.push("take the login away, end all connections".to_owned());
        }
        steps.push(if self.create {
            format!("create the account {}", self.account)
        } else {
            format!("reset the account {}", self.account)
        });
        steps.extend(changes("revoke", &self.revoke));
        if !self.settings.is_empty() || self.expires {
            steps.push("clear what is stored for it: settings, limits".to_owned());
        }
        steps.push(format!("record the owner {} (uid {})", self.owner.admin, self.owner.uid));
        steps.extend(self.verifier.is_some().then(|| "store the password's verifier".to_owned()));
        steps.extend(changes("grant", &self.grant));
        steps.extend(changes("add to the permission sets", &self.grant_sets));
        steps.push("let it log in".to_owned());
        steps
    }
}

impl Adjust {
    fn steps(&self) -> Vec<String> {
        let mut steps = create_roles(&self.create_roles);
        steps.push(format!("adjust the account {}", self.account));
        if let Some(owner) = &self.record {
            steps.push(format!("record the owner {} (uid {})", owner.admin, owner.uid));
        }
        steps.extend(changes("revoke", &self.revoke));
        steps.extend(changes("grant", &self.grant));
        steps.extend(changes("add to the permission sets", &self.grant_sets));
        steps.extend(self.verifier.is_some().then(|| "store the password's verifier".to_owned()));
        steps.extend(self.enable.then(|| "let it log in".to_owned()));
        steps.extend(self.terminate.then(|| "end all connections".to_owned()));
        let Strays { settings, limits, expires, rights, attributes } = &self.strays;
        if !settings.is_empty() || *limits || *expires {
            steps.push("clear what is stored for it: settings, limits".to_owned());
        }
        steps.extend(changes("take away the attributes", attributes));
        steps.extend(rights.then(|| "take away rights on objects of its own".to_owned()));
        steps
    }
}

impl End {
    fn steps(&self) -> Vec<String> {
        let mut steps = vec![format!("end the account {}", self.account)];
        if let Some(take_over) = &self.take_over {
            let uid = &take_over.from_uid;
            steps.push(format!("take the record over from the DatabaseAdmin of uid {uid}"));
        }
        steps.push("take the login away, end all connections".to_owned());
        steps.extend(changes("revoke", &self.revoke));
        if !self.settings.is_empty() || self.expires {
            steps.push("clear what is stored for it: settings, limits".to_owned());
        }
        steps.extend(self.reassign_to.as_ref().map(|role| format!("give what it owns to {role}")));
        steps.extend(self.drop.then(|| "drop it, where nothing depends on it".to_owned()));
        steps
    }
}

fn create_roles(roles: &[String]) -> Vec<String> {
    changes("create the roles", roles).into_iter().collect()
}

fn changes(verb: &str, roles: &[String]) -> Option<String> {
    (!roles.is_empty()).then(|| format!("{verb} {}", roles.join(", ")))
}
