"""Who the patient is: the record, its store, FHIR in and out, the audit trail. Holds no pixels."""
